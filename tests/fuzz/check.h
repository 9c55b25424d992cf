// What fuzz targets need: their input as text, and a check that ends the program.
#ifndef LONGTAKE_TESTS_FUZZ_CHECK_H_
#define LONGTAKE_TESTS_FUZZ_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace longtake::fuzz {

inline std::string_view ToText(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// An input of several kinds begins with a line that names its kind, so that the files of a corpus can be read.
struct Input {
  std::string_view kind, rest;
};
Input SplitKind(std::string_view text);

// Aborts with the message unless `holds`. Both libFuzzer and our driver then report the input.
void Check(bool holds, std::string_view message);

}  // namespace longtake::fuzz

#endif  // LONGTAKE_TESTS_FUZZ_CHECK_H_
