# cmake -D COMPILER=... -D FLAGS=... -D NAMES=... -P older_language.cmake
#
# Whichever header comes first in a program that is compiled as C++17: the compiler says one sentence, and stops.
cmake_minimum_required(VERSION 3.23)
set(sentence "moe needs C\\+\\+20: compile with -std=c\\+\\+20")
foreach(name IN LISTS NAMES)
  execute_process(COMMAND ${COMPILER} -std=c++17 -E ${FLAGS} -include ${name} ${CMAKE_CURRENT_LIST_DIR}/empty.cpp
                  RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE output)
  string(REGEX MATCHALL "error: [^\n]*" errors "${output}")
  list(LENGTH errors count)
  list(FILTER errors EXCLUDE REGEX "${sentence}")
  if(result EQUAL 0 OR count GREATER 2 OR NOT errors STREQUAL "")
    message(SEND_ERROR "${name}: not '${sentence}' alone, but\n${output}")
  endif()
endforeach()
