// The bytes of a file, for tests.
#ifndef LONGTAKE_TESTS_ENGINE_READ_FILE_H_
#define LONGTAKE_TESTS_ENGINE_READ_FILE_H_

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace longtake {

// Empty if there is no such file.
inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_READ_FILE_H_
