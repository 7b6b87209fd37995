# Install rules. Everything is found relative to the installed files, so that a prefix can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/moe)
set(pkgconfig_dir ${CMAKE_INSTALL_DATADIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig
           OUTPUT_VARIABLE pkgconfig_to_include)

install(TARGETS moe EXPORT moe FILE_SET HEADERS)
set(package_of ARCH_INDEPENDENT)
if(MOE_COMPILED)
  install(TARGETS moe_compiled EXPORT moe ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  set(package_of)
endif()
install(EXPORT moe NAMESPACE moe:: DESTINATION ${package_dir} FILE moeTargets.cmake)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/moeConfig.cmake.in ${PROJECT_BINARY_DIR}/moeConfig.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/moeConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion ${package_of})
install(FILES ${PROJECT_BINARY_DIR}/moeConfig.cmake ${PROJECT_BINARY_DIR}/moeConfigVersion.cmake
        DESTINATION ${package_dir})

configure_file(${CMAKE_CURRENT_LIST_DIR}/moe.pc.in ${PROJECT_BINARY_DIR}/moe.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/moe.pc DESTINATION ${pkgconfig_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
