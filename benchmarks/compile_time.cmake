# How long does the compiler take, as ratios to a program that multiplies two matrices of Eigen's? User seconds, the best
# of three, the programs in turns, as tables in Markdown.
# cmake -D CHECKOUT=... -D WORK=... -D COMPILER=... -D EIGEN=... -P compile_time.cmake
cmake_minimum_required(VERSION 3.23)
file(MAKE_DIRECTORY ${WORK})

file(WRITE ${WORK}/eigen.cpp [[
#include <Eigen/Core>

int main() {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Matrix a = Matrix::Ones(8, 8), b = Matrix::Ones(8, 8);
  const Matrix c = a * b;
  return c(0, 0) == 8 ? 0 : 1;
}
]])
file(WRITE ${WORK}/umbrella.cpp "#include <moe/moe.hpp>\n")
file(READ ${CHECKOUT}/examples/quick_start.cpp program)
file(WRITE ${WORK}/readme.cpp "${program}")
set(headers)
foreach(header IN ITEMS core/parameters core/random expert/glu expert/make_experts gating/top_k layer/layer
                        loss/load_balance loss/losses loss/router_z optim/adamw router/router routing/load)
  string(APPEND headers "#include <moe/${header}.hpp>\n")
endforeach()
string(REGEX REPLACE "#include [<\"]moe/moe.hpp[>\"]\n" "${headers}" single "${program}")
if(single STREQUAL program)
  message(FATAL_ERROR "quick_start.cpp does not include moe/moe.hpp")
endif()
file(WRITE ${WORK}/single.cpp "${single}")

# user_time(<variable> <source> <flag>...): in milliseconds.
function(user_time variable source)
  execute_process(COMMAND sh -c "\"$@\" && times" sh ${COMPILER} -std=c++20 ${ARGN} -march=native -I ${CHECKOUT}/include
                          -isystem ${EIGEN} -c ${WORK}/${source} -o ${WORK}/compiled.o
                  OUTPUT_VARIABLE times COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCH "([0-9]+)m([0-9]+)[.]([0-9][0-9])[0-9]*s [^\n]*\n*$" matched "${times}")
  math(EXPR elapsed "(${CMAKE_MATCH_1} * 60 + ${CMAKE_MATCH_2}) * 1000 + 1${CMAKE_MATCH_3} * 10 - 1000")
  set(${variable} ${elapsed} PARENT_SCOPE)
endfunction()

# print(<text>): on the standard output, which message() does not use.
function(print text)
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${text}")
endfunction()

# with_point(<variable> <hundredths>)
function(with_point variable hundredths)
  math(EXPR whole "${hundredths} / 100")
  math(EXPR rest "${hundredths} % 100 + 100")
  string(SUBSTRING ${rest} 1 2 rest)
  set(${variable} ${whole}.${rest} PARENT_SCOPE)
endfunction()

set(programs eigen umbrella readme single library)
set(name_of_eigen "a product of Eigen's")
set(name_of_umbrella "moe/moe.hpp alone")
set(name_of_readme "the README's program")
set(name_of_single "the same with single headers")
set(name_of_library "the same with moe::compiled")
set(flags_of_library -D MOE_COMPILED)
foreach(program IN LISTS programs)
  set(source_of_${program} ${program}.cpp)
endforeach()
set(source_of_library readme.cpp)

foreach(level IN ITEMS -O0 -O2)
  foreach(round RANGE 1 3)
    foreach(program IN LISTS programs)
      user_time(elapsed ${source_of_${program}} ${level} ${flags_of_${program}})
      if(round EQUAL 1 OR elapsed LESS best_of_${program})
        set(best_of_${program} ${elapsed})
      endif()
    endforeach()
  endforeach()
  print("| compiled with ${level} | user s | ratio |")
  print("|---|---|---|")
  foreach(program IN LISTS programs)
    math(EXPR hundredths "${best_of_${program}} / 10")
    math(EXPR ratio "100 * ${best_of_${program}} / ${best_of_eigen}")
    with_point(hundredths ${hundredths})
    with_point(ratio ${ratio})
    print("| ${name_of_${program}} | ${hundredths} | ${ratio} |")
  endforeach()
  print("")
endforeach()
