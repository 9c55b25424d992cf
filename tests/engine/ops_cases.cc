#include "tests/engine/ops_cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/core/float16.h"

namespace longtake {

std::vector<OpsCase> AllCases() {
  std::vector<OpsCase> all = DenseCases();
  for (const auto& more : {NormCases(), ElementwiseCases(), AttentionCases(), ConvolutionCases(), LatentCases(),
                           SamplerCases(), ShuffleCases(), HybridCases()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

Groups AllGroups(const OpsCase& c) {
  Groups groups;
  for (int g = 0; g < c.groups; ++g) groups.push_back(g);
  return groups;
}

double Error(const std::vector<float>& expected, const std::vector<float>& actual) {
  double most = 0, error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!std::isfinite(actual[i])) return HUGE_VAL;
    most = std::max(most, std::abs(double{expected[i]}));
    error = std::max(error, std::abs(double{expected[i]} - actual[i]));
  }
  return most == 0 ? error : error / most;
}

double RowError(const std::vector<float>& expected, const std::vector<float>& actual, int64_t columns) {
  double worst = 0;
  for (size_t at = 0; at < expected.size(); at += columns) {
    const std::vector<float> a(expected.begin() + at, expected.begin() + at + columns);
    const std::vector<float> b(actual.begin() + at, actual.begin() + at + columns);
    worst = std::max(worst, Error(a, b));
  }
  return worst;
}

bool SameBytes(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> Random(int64_t n, int stream, int group, float scale, float offset) {
  std::mt19937 engine(static_cast<uint32_t>(stream * 1000 + group));
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& v : values) v = BF16ToFloat(FloatToBF16(normal(engine) * scale + offset));
  return values;
}

std::vector<float> UnequalRows(int64_t rows, int64_t columns, int stream, int group) {
  std::vector<float> x = Random(rows * columns, stream, group);
  for (int64_t r = 0; r < rows; ++r) {
    const float size = r == 3 ? 0.f : std::exp2(static_cast<float>(r * 7 % 21 - 10));
    for (int64_t i = 0; i < columns; ++i) x[r * columns + i] *= size * (i % 37 == 5 ? 8.f : 1.f);
  }
  return x;
}

std::vector<float> Draw(Values values, int64_t n, int stream, int group) {
  if (values == Values::kNormal) return Random(n, stream, group);
  std::mt19937 engine(static_cast<uint32_t>(stream * 1000 + group));
  std::vector<float> numbers(n);
  for (float& v : numbers) v = static_cast<float>(engine() % 7) - 3.f;
  return numbers;
}

Segment SegmentOf(int group, int64_t first_row, const GroupSegments& segments) {
  Segment s = segments[group];
  s.first_row = first_row;
  return s;
}

int64_t TokensOf(int group, const GroupSegments& segments) { return segments[group].rows(); }

std::vector<Segment> Segments(const Groups& groups, const GroupSegments& segments) {
  std::vector<Segment> all;
  int64_t row = 0;
  for (int g : groups) {
    all.push_back(SegmentOf(g, row, segments));
    row += TokensOf(g, segments);
  }
  return all;
}

std::byte* Bench::Bytes(size_t n) {
  return static_cast<std::byte*>(buffers_.emplace_back(ops_.device().Allocate(n))->data());
}

Mat Bench::Upload(const std::vector<float>& values, int64_t columns, DType type) {
  const Mat m = Empty(static_cast<int64_t>(values.size()) / columns, columns, type);
  if (type == DType::kF32) {
    ops_.device().Upload(values.data(), m.data, values.size() * sizeof(float));
  } else {
    std::vector<uint16_t> rounded;
    for (float v : values) rounded.push_back(FloatToBF16(v));
    ops_.device().Upload(rounded.data(), m.data, rounded.size() * sizeof(uint16_t));
  }
  return m;
}

float* Bench::Floats(const std::vector<float>& values) {
  float* p = reinterpret_cast<float*>(Bytes(values.size() * sizeof(float)));
  ops_.device().Upload(values.data(), p, values.size() * sizeof(float));
  return p;
}

Mat Bench::Empty(int64_t rows, int64_t columns, DType type) {
  return MakeMat(static_cast<void*>(Bytes(rows * columns * SizeOf(type))), type, rows, columns);
}

std::vector<float> Bench::Read(const Mat& m) {
  const int64_t n = m.rows * m.cols;
  if (m.dtype == DType::kF32) return ReadFloats(static_cast<const float*>(m.data), n);
  std::vector<uint16_t> rounded(n);
  ops_.device().Download(m.data, rounded.data(), n * sizeof(uint16_t));
  std::vector<float> values;
  for (uint16_t v : rounded) values.push_back(BF16ToFloat(v));
  return values;
}

std::vector<float> Bench::ReadFloats(const float* p, int64_t n) {
  std::vector<float> values(n);
  ops_.device().Download(p, values.data(), n * sizeof(float));
  return values;
}

std::unique_ptr<PackedKernel> Bench::Kernel(const KernelShape& shape, int stream, bool bias, Values values) {
  const int64_t n = shape.outputs * shape.inputs * shape.taps();
  const float scale = 1.f / std::sqrt(static_cast<float>(shape.inputs * shape.taps()));
  const auto weight = values == Values::kNormal ? Random(n, stream, 0, scale) : Draw(values, n, stream);
  const auto b = Draw(values, shape.outputs, stream, 1);
  const HostTensor w = {weight.data(), DType::kF32, {shape.outputs, shape.inputs, shape.taps()}};
  const HostTensor bt = {b.data(), DType::kF32, {shape.outputs}};
  return ops_.weights().Pack(shape, {&w, 1},
                             bias ? std::span<const HostTensor>(&bt, 1) : std::span<const HostTensor>());
}

std::vector<float> Concatenate(const Groups& groups, const std::function<std::vector<float>(int)>& values) {
  std::vector<float> all;
  for (int g : groups) {
    const auto own = values(g);
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

GroupResults Cut(const Groups& groups, const std::vector<float>& all, const std::function<int64_t(int)>& count) {
  GroupResults results;
  int64_t at = 0;
  for (int g : groups) {
    results[g].assign(all.begin() + at, all.begin() + at + count(g));
    at += count(g);
  }
  return results;
}

OpsCase RowsCase(const std::string& name, int64_t columns, bool f32_in, bool f32_out, RowsFunction f) {
  const auto run = [=](Ops& ops, const Groups& groups) {
    Bench bench(ops);
    const auto values = Concatenate(groups, [&](int g) { return Random(RowsOf(g) * columns, 1, g, 1.f, 0.5f); });
    const Mat x = bench.Upload(values, columns, f32_in ? DType::kF32 : ops.activation_type());
    const auto old = Concatenate(groups, [&](int g) { return Random(RowsOf(g) * columns, 2, g); });
    const Mat y = bench.Upload(old, columns, f32_out ? DType::kF32 : ops.activation_type());
    std::vector<int32_t> mod_row;
    for (int g : groups) {
      for (int64_t r = 0; r < RowsOf(g); ++r) mod_row.push_back(static_cast<int32_t>((r + g) % 2));
    }
    f(ops, bench, x, y, mod_row);
    return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * columns; });
  };
  return {absl::StrCat(name, "_", columns), 3, run};
}

}  // namespace longtake
