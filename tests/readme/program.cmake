# cmake -D CHECKOUT=... -D WORK=... -D COMPILER=... -D EIGEN=... -P program.cmake
cmake_minimum_required(VERSION 3.23)
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

# fenced(<language> <variable>): the first block of that language in the README.
file(READ ${CHECKOUT}/README.md readme)
function(fenced language variable)
  set(fence "\n```${language}\n")
  string(FIND "${readme}" "${fence}" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "the README has no ${language} block")
  endif()
  string(LENGTH "${fence}" length)
  math(EXPR begin "${begin} + ${length}")
  string(SUBSTRING "${readme}" ${begin} -1 rest)
  string(FIND "${rest}" "```" end)
  string(SUBSTRING "${rest}" 0 ${end} block)
  set(${variable} "${block}" PARENT_SCOPE)
endfunction()

fenced(cpp program)
fenced(text expected)

file(READ ${CHECKOUT}/examples/quick_start.cpp example)
if(NOT program STREQUAL example)
  message(FATAL_ERROR "the README's program is not examples/quick_start.cpp")
endif()

file(WRITE ${WORK}/program.cpp "${program}")
execute_process(COMMAND ${COMPILER} -std=c++20 -O1 -I ${CHECKOUT}/include -I ${EIGEN} program.cpp -o program
                WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/program OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
if(NOT output STREQUAL expected)
  message(FATAL_ERROR "the program prints\n${output}the README says\n${expected}")
endif()
