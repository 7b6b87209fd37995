# How long does the compiler take? The best of three, in seconds, as a table in Markdown.
# cmake -D CHECKOUT=... -D WORK=... -D COMPILER=... -D EIGEN=... -P compile_time.cmake
cmake_minimum_required(VERSION 3.23)
file(MAKE_DIRECTORY ${WORK})
file(WRITE ${WORK}/eigen.cpp "#include <Eigen/Core>\n")
file(WRITE ${WORK}/moe.cpp "#include <moe/moe.hpp>\n")

# best_time(<variable> <source> <flag>): in milliseconds.
function(best_time variable source flag)
  foreach(attempt RANGE 1 3)
    string(TIMESTAMP start "%s%f")
    execute_process(COMMAND ${COMPILER} -std=c++20 ${flag} -march=native -I ${CHECKOUT}/include -isystem ${EIGEN}
                            -c ${source} -o ${WORK}/compiled.o
                    COMMAND_ERROR_IS_FATAL ANY)
    string(TIMESTAMP end "%s%f")
    math(EXPR elapsed "(${end} - ${start}) / 1000")
    if(attempt EQUAL 1 OR elapsed LESS best)
      set(best ${elapsed})
    endif()
  endforeach()
  set(${variable} ${best} PARENT_SCOPE)
endfunction()

# print(<text>): on the standard output, which message() does not use.
function(print text)
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${text}")
endfunction()

print("| compiled | -O0, s | -O2, s |")
print("|---|---|---|")
set(program ${CHECKOUT}/examples/quick_start.cpp)
foreach(row "Eigen/Core alone:${WORK}/eigen.cpp" "moe/moe.hpp alone:${WORK}/moe.cpp" "the README's program:${program}")
  string(REGEX MATCH "^([^:]+):(.+)$" row ${row})
  set(name "${CMAKE_MATCH_1}")
  set(source "${CMAKE_MATCH_2}")
  set(cells)
  foreach(flag -O0 -O2)
    best_time(elapsed ${source} ${flag})
    math(EXPR seconds "${elapsed} / 1000")
    math(EXPR tenths "${elapsed} / 100 % 10")
    string(APPEND cells " ${seconds}.${tenths} |")
  endforeach()
  print("| ${name} |${cells}")
endforeach()
