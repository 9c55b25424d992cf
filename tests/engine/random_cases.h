// Operations of random shapes: what the tables of ops_cases_*.cc do not think of. `count` of each seed.
#ifndef LONGTAKE_TESTS_ENGINE_RANDOM_CASES_H_
#define LONGTAKE_TESTS_ENGINE_RANDOM_CASES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "tests/engine/ops_cases.h"

namespace longtake {

// Dense layers and convolutions of whole numbers, whose results every backend must give to the byte. `f32`: the type of
// the result; else the activation type, to which it is rounded once.
struct ExactCase {
  OpsCase operation;
  bool f32 = false;
};
std::vector<ExactCase> RandomExactCases(std::span<const uint32_t> seeds, int count);

// All kinds of products and attention, of normal numbers.
std::vector<OpsCase> RandomCases(std::span<const uint32_t> seeds, int count);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_RANDOM_CASES_H_
