// A file in memory that has a path, for functions that open what they read.
#ifndef LONGTAKE_TESTS_FUZZ_MEMORY_FILE_H_
#define LONGTAKE_TESTS_FUZZ_MEMORY_FILE_H_

#include <string>
#include <string_view>

namespace longtake::fuzz {

class MemoryFile {
 public:
  MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile();

  // Valid in this process, as long as the file.
  const std::string& path() const { return path_; }
  // Replaces the content.
  void Write(std::string_view bytes);

 private:
  int fd_ = -1;
  std::string path_;
};

}  // namespace longtake::fuzz

#endif  // LONGTAKE_TESTS_FUZZ_MEMORY_FILE_H_
