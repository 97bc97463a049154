# Looks for CUDA. Sets BALLAST_CUDA_COMPILED where nvcc is: the plugins for devices are built.
set(BALLAST_CUDA AUTO CACHE STRING "Build the CUDA plugins: ON, OFF, or AUTO (where nvcc is found)")
set_property(CACHE BALLAST_CUDA PROPERTY STRINGS AUTO ON OFF)
set(BALLAST_CUDA_COMPILED FALSE)
if(NOT BALLAST_CUDA)
  return()
endif()

include(CheckLanguage)
if(NOT CMAKE_CUDA_COMPILER)
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
endif()
# "native" would need a device here. The last entry is also kept as PTX, from which drivers compile for devices to come.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100 CACHE STRING "GPU generations that the CUDA plugins are compiled for")
endif()
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # CMake before 3.25.2 does not know it
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  set(BALLAST_CUDA_COMPILED TRUE)
elseif(NOT BALLAST_CUDA STREQUAL "AUTO")
  message(FATAL_ERROR "BALLAST_CUDA=ON: no CUDA compiler; put nvcc into PATH or set CMAKE_CUDA_COMPILER")
endif()

# Flags of the plugins' CUDA code: warnings are errors, and so are registers that spill and arrays in local memory.
add_library(ballast_cuda_flags INTERFACE)
target_compile_options(ballast_cuda_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings -Xptxas -warn-spills,-warn-lmem-usage,-Werror -Xcompiler -Wall,-Wextra,-ffp-contract=off>")

# ballast_plugin(ballast_cuda FOLDER lib/ballast SOURCES ... LINKS ...): a library that the program opens at run time
function(ballast_plugin target)
  cmake_parse_arguments(PLUGIN "" "FOLDER;FILE" "SOURCES;LINKS" ${ARGN})
  add_library(${target} MODULE ${PLUGIN_SOURCES})
  target_link_libraries(${target} PRIVATE ${PLUGIN_LINKS})
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME ${PLUGIN_FILE}
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${PLUGIN_FOLDER})
  if(NOT BALLAST_SANITIZE)
    target_link_options(${target} PRIVATE LINKER:--no-undefined)  # to learn it now, not when the program opens the library
  endif()
endfunction()
