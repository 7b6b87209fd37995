# Flags for the tests, examples and benchmarks of this repository. They hang on `moe_development`, which is never
# installed and which `moe` does not know.
option(MOE_NATIVE "Compile our own programs for the processor of this machine" ON)
option(MOE_WERROR "Make warnings in our own programs errors" OFF)
option(MOE_OPENMP "Compile our own programs with OpenMP where it is found" ON)
set(MOE_SANITIZE "" CACHE STRING "Sanitizers for our own programs, e.g. address,undefined")

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)

set(moe_warnings -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of these versions about GCC's own AVX-512 and string headers (GCC bugs 105593 and 105651) and about
  # code of Eigen's that is never reached. Clang is asked as well.
  list(APPEND moe_warnings -Wno-uninitialized -Wno-maybe-uninitialized -Wno-array-bounds -Wno-restrict)
endif()
if(MOE_WERROR)
  list(APPEND moe_warnings -Werror)
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)  # for moe::Team, and the examples' progress
add_library(moe_development INTERFACE)
target_link_libraries(moe_development INTERFACE moe::moe Threads::Threads)
target_compile_options(moe_development INTERFACE ${moe_warnings})

# g++ walks its memory for garbage whenever it has grown by a share, which finds little in code like ours: a tenth to a
# quarter of the time of a large compilation. Where each core has room for that, it waits until there are 3 GB.
cmake_host_system_information(RESULT moe_memory QUERY TOTAL_PHYSICAL_MEMORY)
cmake_host_system_information(RESULT moe_cores QUERY NUMBER_OF_LOGICAL_CORES)
math(EXPR moe_memory_needed "4000 * ${moe_cores}")
set(moe_has_memory OFF)
if(moe_memory GREATER_EQUAL moe_memory_needed)
  set(moe_has_memory ON)
endif()
option(MOE_SPEND_MEMORY "Let g++ take up to 3 GB for each of our own programs, to compile them sooner" ${moe_has_memory})
if(MOE_SPEND_MEMORY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(moe_development INTERFACE --param=ggc-min-heapsize=3000000)
endif()

include(CheckCXXCompilerFlag)
if(MOE_NATIVE)
  check_cxx_compiler_flag(-march=native MOE_HAS_MARCH_NATIVE)
  target_compile_options(moe_development INTERFACE $<$<BOOL:${MOE_HAS_MARCH_NATIVE}>:-march=native>)
endif()

if(MOE_SANITIZE)
  set(sanitizer_flags -fsanitize=${MOE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(moe_development INTERFACE ${sanitizer_flags})
  target_link_options(moe_development INTERFACE ${sanitizer_flags})
endif()

if(MOE_OPENMP)
  find_package(OpenMP QUIET COMPONENTS CXX)
endif()

# moe_program(<target> [EXCLUDE_FROM_ALL] <source>...): an executable with the flags above.
function(moe_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE moe_development)
  if(OpenMP_CXX_FOUND)
    target_link_libraries(${name} PRIVATE OpenMP::OpenMP_CXX)
  endif()
endfunction()
