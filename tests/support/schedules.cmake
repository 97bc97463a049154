# Runs the program TEST under SCHEDULES orders of execution of the emulated GPU: cmake -DTEST=... -DSCHEDULES=20 -P schedules.cmake
cmake_minimum_required(VERSION 3.22)

# TSan otherwise waits for a second at the end of each process: for races of other threads, of which there are none by then.
set(ENV{TSAN_OPTIONS} "atexit_sleep_ms=0")
foreach(seed RANGE 1 ${SCHEDULES})
  set(ENV{CUDA_EMULATOR_SEED} ${seed})
  execute_process(COMMAND ${TEST} --gtest_brief=1 RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(failed)
    message(FATAL_ERROR "CUDA_EMULATOR_SEED=${seed}: ${failed}\n${output}")
  endif()
endforeach()
