# cmake -D README=... -D PROGRAM=... -P program.cmake: the program prints the first `text` block of the README.
cmake_minimum_required(VERSION 3.23)

file(READ ${README} readme)
set(fence "\n```text\n")
string(FIND "${readme}" "${fence}" begin)
if(begin EQUAL -1)
  message(FATAL_ERROR "the README has no text block")
endif()
string(LENGTH "${fence}" length)
math(EXPR begin "${begin} + ${length}")
string(SUBSTRING "${readme}" ${begin} -1 rest)
string(FIND "${rest}" "```" end)
string(SUBSTRING "${rest}" 0 ${end} expected)

execute_process(COMMAND ${PROGRAM} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
if(NOT output STREQUAL expected)
  message(FATAL_ERROR "the program prints\n${output}the README says\n${expected}")
endif()
