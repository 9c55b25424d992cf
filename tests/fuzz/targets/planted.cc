// A target with bugs, to see that the driver finds them and names the input: each kind of input has its own.
#include <cstdint>
#include <string_view>
#include <vector>

#include "tests/fuzz/check.h"

namespace longtake::fuzz {
namespace {

// Stays at the first '(' and calls itself: a parser that never ends. The address of the frame is passed on, so that no
// compiler makes a loop of it.
int Follow(std::string_view text, const volatile char* caller) {
  const volatile char frame = *caller;
  return text.substr(0, 1) == "(" ? Follow(text, &frame) + frame : frame;
}

}  // namespace
}  // namespace longtake::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const longtake::fuzz::Input input = longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size));
  // Not in the corpus: a mutation must put it there.
  if (input.kind == "crash") longtake::fuzz::Check(input.rest.find("-1") == input.rest.npos, "a number below 0");
  const char bottom = 0;
  if (input.kind == "overflow") longtake::fuzz::Check(longtake::fuzz::Follow(input.rest, &bottom) == 0, "no end");
  if (input.kind == "memory") {
    const std::vector<char> touched(size_t{300} << 20, 'x');
    longtake::fuzz::Check(touched.back() == 'x', "no memory");
  }
  return 0;
}
