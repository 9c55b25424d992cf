# Flags of every target, and longtake_library(): a static library that includes from the repository's root.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# Designated initialisers leave fields at their defaults on purpose; GCC 12 warns of that.
add_compile_options(
  $<$<COMPILE_LANGUAGE:CXX>:-Wall> $<$<COMPILE_LANGUAGE:CXX>:-Wextra> $<$<COMPILE_LANGUAGE:CXX>:-Werror>
  $<$<COMPILE_LANGUAGE:CXX>:-Wno-missing-field-initializers>)
# Abseil's and gRPC's flags must not define ours: no fast-math anywhere, sums keep their order.
add_compile_options(
  $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno> $<$<COMPILE_LANGUAGE:CXX>:-fno-trapping-math>
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)

if(LONGTAKE_SANITIZE)
  add_compile_options(-fsanitize=${LONGTAKE_SANITIZE} -fno-omit-frame-pointer)
  # The sanitizer's own dlopen calls the real one, which then has the sanitizer for its caller: of the program's two
  # kinds of search path only the old one counts for other callers, too.
  add_link_options(-fsanitize=${LONGTAKE_SANITIZE} -Wl,--disable-new-dtags)
endif()

# longtake_library(name SOURCES ... DEPS ...)
function(longtake_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${arg_DEPS})
endfunction()

# longtake_test(name SOURCES ... DEPS ...): a GoogleTest program that runs from the repository's root.
function(longtake_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  # A test's own code is compiled 1.6 times as fast with -O1 as with -O3 (GoogleTest's templates); what it tests is not
  # compiled here.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(LONGTAKE_SANITIZE MATCHES thread)
    target_link_libraries(${name} PRIVATE longtake_tsan_grpc_order)
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

# Programs find what they load at run time beside themselves.
set(CMAKE_BUILD_RPATH "$ORIGIN")
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib;$ORIGIN")
