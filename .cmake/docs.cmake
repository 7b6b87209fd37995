# The API reference: `cmake --build <folder> --target docs` writes <folder>/docs/html/index.html. A warning of Doxygen's is
# an error.
find_program(MOE_DOXYGEN doxygen)
mark_as_advanced(MOE_DOXYGEN)
if(MOE_DOXYGEN)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/Doxyfile.in ${PROJECT_BINARY_DIR}/docs/Doxyfile @ONLY)
  add_custom_target(docs COMMAND ${MOE_DOXYGEN} ${PROJECT_BINARY_DIR}/docs/Doxyfile WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
                    COMMENT "The API reference" VERBATIM)
else()
  add_custom_target(docs COMMAND ${CMAKE_COMMAND} -E echo "the API reference needs doxygen; install it and configure again"
                    COMMAND ${CMAKE_COMMAND} -E false VERBATIM)
endif()
