// Changes inputs as libFuzzer does, but without coverage: the same in every run of the same seed.
#ifndef LONGTAKE_TESTS_FUZZ_MUTATOR_H_
#define LONGTAKE_TESTS_FUZZ_MUTATOR_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace longtake::fuzz {

class Mutator {
 public:
  // `corpus`: what is spliced into inputs. `words`: of a dictionary, inserted and put in place of other bytes.
  Mutator(std::vector<std::string> corpus, std::vector<std::string> words, uint64_t seed)
      : corpus_(std::move(corpus)), words_(std::move(words)), random_(seed) {}

  // One to four changes of the input: bytes, numbers, words and ranges are replaced, removed, repeated or inserted.
  std::string Mutate(std::string input);

 private:
  size_t Below(size_t end);  // 0 where end is 0
  void Change(std::string& text);
  std::string SomeBytes();

  const std::vector<std::string> corpus_, words_;
  std::mt19937_64 random_;
};

// The words of a dictionary in libFuzzer's form: lines `"word"` or `name="word"`, with C's escapes, and comments that
// begin with '#'. A line of another form gives no word.
std::vector<std::string> ParseDictionary(const std::string& text);

}  // namespace longtake::fuzz

#endif  // LONGTAKE_TESTS_FUZZ_MUTATOR_H_
