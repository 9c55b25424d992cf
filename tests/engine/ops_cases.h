// Small examples of every operation, run on any backend: the reference, and the one that is compared with it.
#ifndef LONGTAKE_TESTS_ENGINE_OPS_CASES_H_
#define LONGTAKE_TESTS_ENGINE_OPS_CASES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/ops/ops.h"

namespace longtake {

// A case's inputs come in groups (a session's tokens, a frame, some rows), each a function of its own number alone. A
// run gets the groups that make the batch, in order, and returns each group's numbers; those must not depend on the
// others.
using Groups = std::vector<int>;
using GroupResults = std::map<int, std::vector<float>>;

struct OpsCase {
  std::string name;
  int groups = 3;
  std::function<GroupResults(Ops& ops, const Groups& groups)> run;
};

// Of each family, in the file of its name.
std::vector<OpsCase> DenseCases();
std::vector<OpsCase> NormCases();
std::vector<OpsCase> ElementwiseCases();
std::vector<OpsCase> AttentionCases();
std::vector<OpsCase> ConvolutionCases();
std::vector<OpsCase> LatentCases();
std::vector<OpsCase> SamplerCases();
std::vector<OpsCase> ShuffleCases();
std::vector<OpsCase> HybridCases();
std::vector<OpsCase> AllCases();

Groups AllGroups(const OpsCase& c);

// max|difference| / max|expected|; infinite where a number of `actual` is not finite.
double Error(const std::vector<float>& expected, const std::vector<float>& actual);
// The largest Error() of a row: for rows of unequal sizes.
double RowError(const std::vector<float>& expected, const std::vector<float>& actual, int64_t columns);
bool SameBytes(const std::vector<float>& a, const std::vector<float>& b);

// Numbers for one purpose: `stream` tells inputs of one case apart. Every value is a bf16 number, so that backends of
// either type begin with the same inputs.
std::vector<float> Random(int64_t n, int stream, int group = 0, float scale = 1.f, float offset = 0.f);
// Rows of unequal sizes, from a thousandth to a thousand; row 3 is of zeros, and single columns are eight times the
// others.
std::vector<float> UnequalRows(int64_t rows, int64_t columns, int stream, int group = 0);
// As Random, or whole numbers from -3 to 3. Sums of products of these are exact in f32 below 2^24, so every order of
// summation, and so every backend, gives the same bytes.
enum class Values { kNormal, kWhole };
std::vector<float> Draw(Values values, int64_t n, int stream, int group = 0);

// Group sizes where nothing else is said. The rows cross the register tiles (6, 8, 12 rows) and blocks (192).
using GroupRows = std::array<int64_t, 3>;
inline constexpr GroupRows kRows = {37, 1, 211};
inline int64_t RowsOf(int group) { return kRows[group]; }
// Groups of tokens: a pass's block of frames.
using GroupSegments = std::array<Segment, 3>;
inline constexpr GroupSegments kSegments = {Segment{0, 2, 3, 7, 0}, Segment{0, 1, 1, 4, 11}, Segment{0, 3, 6, 6, 2}};
Segment SegmentOf(int group, int64_t first_row, const GroupSegments& segments = kSegments);
int64_t TokensOf(int group, const GroupSegments& segments = kSegments);
std::vector<Segment> Segments(const Groups& groups, const GroupSegments& segments = kSegments);

// A backend's memory for one run.
class Bench {
 public:
  explicit Bench(Ops& ops) : ops_(ops) {}
  Mat Upload(const std::vector<float>& values, int64_t columns, DType type);
  Mat Act(const std::vector<float>& values, int64_t columns) { return Upload(values, columns, ops_.activation_type()); }
  float* Floats(const std::vector<float>& values);
  Mat Empty(int64_t rows, int64_t columns, DType type);
  Mat EmptyAct(int64_t rows, int64_t columns) { return Empty(rows, columns, ops_.activation_type()); }
  std::vector<float> Read(const Mat& m);
  std::vector<float> ReadFloats(const float* p, int64_t n);
  // Weights [outputs, inputs, taps] and bias of a kernel.
  std::unique_ptr<PackedKernel> Kernel(const KernelShape& shape, int stream, bool bias,
                                       Values values = Values::kNormal);
  std::byte* Bytes(size_t n);

 private:
  Ops& ops_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

// The groups' values one after the other.
std::vector<float> Concatenate(const Groups& groups, const std::function<std::vector<float>(int)>& values);
// Cuts the rows of `all` into groups of rows(group).
GroupResults Cut(const Groups& groups, const std::vector<float>& all, const std::function<int64_t(int)>& count);

// `name`_`columns`: an operation from rows x to rows y of as many columns, as a case of one group of rows a group. `y`
// holds numbers that the operation may add to; mod_row is of two modulation rows.
using RowsFunction = std::function<void(Ops& ops, Bench& bench, Mat x, Mat y, std::span<const int32_t> mod_row)>;
OpsCase RowsCase(const std::string& name, int64_t columns, bool f32_in, bool f32_out, RowsFunction f);

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_OPS_CASES_H_
