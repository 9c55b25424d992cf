// Which sources a program was built of.
#ifndef LONGTAKE_COMMON_BUILD_INFO_H_
#define LONGTAKE_COMMON_BUILD_INFO_H_

#include <string>

namespace longtake {

struct BuildInfo {
  std::string version = "unknown";
  std::string commit = "unknown";  // 12 hexadecimal digits, with "-dirty" where files differed from it
};

// That of this program. The build makes the source (cmake/build_info.cmake); only programs link it, since it changes
// with every commit.
BuildInfo GetBuildInfo();

// As --version prints it.
inline std::string VersionLine(const std::string& program, const BuildInfo& build) {
  return program + " " + build.version + " (commit " + build.commit + ")";
}

}  // namespace longtake

#endif  // LONGTAKE_COMMON_BUILD_INFO_H_
