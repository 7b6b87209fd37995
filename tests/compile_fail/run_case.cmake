# cmake -D COMPILE=<the compiler and its flags> -D CASE=... -P run_case.cmake
#
# A case is one file with a mistake and its repair:
#     // EXPECT: a sentence that the first error must contain
#     #ifdef MOE_FIXED
#     ...
#     #else
#     ...
#     #endif
# or, after moe has been included, a right name that a macro makes wrong unless MOE_FIXED is defined. Cases of one kind
# share a header of this folder.
# The repaired form must compile, lest the case fails for another reason; the other must not, and must say the sentence.
cmake_minimum_required(VERSION 3.23)
file(STRINGS ${CASE} expectations REGEX "^// EXPECT: ")
if(NOT expectations)
  message(FATAL_ERROR "${CASE} has no line '// EXPECT: ...'")
endif()

function(compile)
  execute_process(COMMAND ${COMPILE} ${ARGV} ${CASE}
                  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  set(result ${result} PARENT_SCOPE)
  set(output "${output}" PARENT_SCOPE)
endfunction()

compile(-DMOE_FIXED)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the repaired form does not compile:\n${output}")
endif()

compile()
if(result EQUAL 0)
  message(FATAL_ERROR "the mistake compiles")
endif()
string(REGEX MATCH "error: [^\n]*" error "${output}")  # people read the first one
foreach(expectation IN LISTS expectations)
  string(REPLACE "// EXPECT: " "" sentence "${expectation}")
  string(FIND "${error}" "${sentence}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "the first error does not say\n  ${sentence}\nbut\n${output}")
  endif()
endforeach()
