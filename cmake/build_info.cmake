# Writes OUT, a source with GetBuildInfo of common/build_info.h, for VERSION and the commit of the sources in SOURCE. Every
# build runs it; where OUT says the same already it is left alone, so that nothing is compiled anew.
#
# The commit is the first of these: GIVEN (-DLONGTAKE_COMMIT=...); git's, with "-dirty" where files differ from it; that of
# SOURCE/cmake/commit.txt, into which `git archive` writes it; "unknown".
set(commit "${GIVEN}")

# Only where SOURCE is the checkout itself: unpacked within another project's, it would take that one's commit.
if(NOT commit)
  execute_process(COMMAND git rev-parse --show-prefix WORKING_DIRECTORY ${SOURCE}
    RESULT_VARIABLE failed OUTPUT_VARIABLE prefix ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if("${failed}" STREQUAL "0" AND "${prefix}" STREQUAL "")
    execute_process(COMMAND git describe --always --dirty --abbrev=12 --exclude=* WORKING_DIRECTORY ${SOURCE}
      OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
endif()
if(NOT commit AND EXISTS ${SOURCE}/cmake/commit.txt)
  file(STRINGS ${SOURCE}/cmake/commit.txt commit LIMIT_COUNT 1)
endif()
if(commit MATCHES "^([0-9a-f]+)(-dirty)?$")
  string(SUBSTRING "${CMAKE_MATCH_1}" 0 12 commit)
  string(APPEND commit "${CMAKE_MATCH_2}")
else()
  set(commit "unknown")
endif()

file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT [[#include "common/build_info.h"

namespace longtake {

BuildInfo GetBuildInfo() { return {.version = "@VERSION@", .commit = "@commit@"}; }

}  // namespace longtake
]])
