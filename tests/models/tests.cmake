# The double-precision backend that tests of several rooms measure against: USES reference_backend.
add_library(ballast_reference_backend STATIC support/reference_backend.cc support/reference_compression.cc support/reference_backend_sequence.cc)
target_link_libraries(ballast_reference_backend PUBLIC ballast_compute)

ballast_unit_test(support/reference_backend USES reference_backend)
ballast_unit_test(models/parameters USES models)
ballast_unit_test(models/arena USES models)
ballast_unit_test(models/plan USES models reference_backend)
ballast_unit_test(models/operations USES models reference_backend)
ballast_unit_test(models/zoo USES models reference_backend)
ballast_unit_test(models/value_reads USES models reference_backend)
ballast_unit_test(models/model USES models reference_backend)
ballast_unit_test(models/model_gradients USES models reference_backend)
ballast_backend_test(models/agreement USES models reference_backend)
