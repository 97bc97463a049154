# The program as its users meet it. Drivers are Python, standard library only; jobs.py runs the program.
add_test(NAME layering COMMAND ${CMAKE_COMMAND} -P ${PROJECT_SOURCE_DIR}/tests/layering.cmake)
set_tests_properties(layering PROPERTIES LABELS rules TIMEOUT 10)

# The system's own Python first: it is the one that sees the packages python3-h5py and python3-torch.
find_program(BALLAST_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(BALLAST_PYTHON python3)
if(NOT BALLAST_PYTHON OR NOT TARGET ballast)
  message(STATUS "No Python 3 or no program: without the system tests")
  return()
endif()

# ballast_system_test(determinism gpt bf16 TIMEOUT 120): tests/system/determinism_test.py gpt bf16
function(ballast_system_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "LABELS" ${ARGN})
  string(JOIN "." full ${name} ${TEST_UNPARSED_ARGUMENTS})
  add_test(NAME system.${full}
    COMMAND ${BALLAST_PYTHON} -B ${PROJECT_SOURCE_DIR}/tests/system/${name}_test.py ${TEST_UNPARSED_ARGUMENTS})
  if(NOT TEST_LABELS)
    set(TEST_LABELS system)
  endif()
  set_tests_properties(system.${full} PROPERTIES LABELS "${TEST_LABELS}" TIMEOUT ${TEST_TIMEOUT} PROCESSORS 2 SKIP_RETURN_CODE 77
    ENVIRONMENT "BALLAST=$<TARGET_FILE:ballast>")
endfunction()

foreach(model mlp convnet gpt)
  foreach(precision f32 bf16)
    ballast_system_test(determinism ${model} ${precision} TIMEOUT 300)
    ballast_system_test(hosts ${model} ${precision} TIMEOUT 300)
  endforeach()
endforeach()
ballast_system_test(layouts TIMEOUT 400)
ballast_system_test(kill TIMEOUT 600)
ballast_system_test(signals TIMEOUT 180)
ballast_system_test(worker_failure TIMEOUT 60)
ballast_system_test(launch TIMEOUT 400)
ballast_system_test(chaos TIMEOUT 900)
ballast_system_test(supervision TIMEOUT 240)
ballast_system_test(bad_input TIMEOUT 240)
ballast_system_test(full_disk TIMEOUT 120)
ballast_system_test(interchange TIMEOUT 60)
ballast_system_test(torch_parity TIMEOUT 180 LABELS system interop)
ballast_system_test(training fashion_mnist TIMEOUT 480 LABELS long)
ballast_system_test(training gpt_text TIMEOUT 600 LABELS long)

# The path of the GPU without one: plugins built for the emulated GPU.
if(TARGET ballast_cuda_emulated)
  add_dependencies(ballast ballast_cuda_emulated)
  foreach(arguments "emulated_gpu;gpt" "emulated_gpu;convnet" "gpu_choice")
    ballast_system_test(${arguments} TIMEOUT 600 LABELS system cuda)
    string(JOIN "." full system ${arguments})
    set_property(TEST ${full} APPEND PROPERTY ENVIRONMENT "EMULATED_PLUGINS=${CMAKE_BINARY_DIR}/emulated")
  endforeach()
endif()
if(TARGET ballast_cuda)
  add_test(NAME compute.cuda_kernels
    COMMAND ${BALLAST_PYTHON} -B ${PROJECT_SOURCE_DIR}/tests/compute/cuda_kernel_table.py ${CMAKE_BINARY_DIR} --check)
  set_tests_properties(compute.cuda_kernels PROPERTIES LABELS "rules;cuda;interop" TIMEOUT 900 PROCESSORS 2)
endif()
