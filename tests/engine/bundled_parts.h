// Folders with parts of the bundled model.
#ifndef LONGTAKE_TESTS_ENGINE_BUNDLED_PARTS_H_
#define LONGTAKE_TESTS_ENGINE_BUNDLED_PARTS_H_

#include <filesystem>
#include <initializer_list>
#include <string>

#include "tests/engine/temp_folder.h"

namespace longtake {

inline constexpr char kBundled[] = "models/longtake-tiny";

inline void LinkBundled(const TempFolder& folder, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    std::filesystem::create_directory_symlink(std::filesystem::absolute(std::string(kBundled) + "/" + part),
                                              folder.path() + "/" + part);
  }
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_BUNDLED_PARTS_H_
