find_package(nlohmann_json REQUIRED)

foreach(name agreement bench bucket_window command_line config console duration exchange find_checkpoint forecast job_cut memory_use number_text outer_model plan prompt reference schema
    simulation step_model sum_work suggestion tensor_summary)
  ballast_unit_test(launcher/${name} USES launcher thread_workers)
endforeach()
foreach(name children hosts mpi_command outcome supervisor testimony)
  ballast_unit_test(launcher/launch/${name} USES launcher)
endforeach()
target_link_libraries(launcher_bench_test PRIVATE nlohmann_json::nlohmann_json)
# They read examples/ and docs/.
set_tests_properties(launcher.config launcher.reference launcher.launch.outcome PROPERTIES WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})

# They start the built program, and with it MPI, which the sanitizers' unit tests leave out.
foreach(name bench_mpirun program program_mpirun)
  ballast_unit_test(launcher/${name} USES flags TIMEOUT 300)
  add_dependencies(launcher_${name}_test ballast)
  target_link_libraries(launcher_${name}_test PRIVATE nlohmann_json::nlohmann_json)
  target_compile_definitions(launcher_${name}_test PRIVATE MPIEXEC="${MPIEXEC_EXECUTABLE}" PROGRAM="$<TARGET_FILE:ballast>")
  set_tests_properties(launcher.${name} PROPERTIES LABELS mpi PROCESSORS 2 ENVIRONMENT "${BALLAST_MPI_ENVIRONMENT}")
endforeach()
