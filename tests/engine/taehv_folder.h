// A small tiny decoder with random weights, whose tensors a test may change before it is written.
#ifndef LONGTAKE_TESTS_ENGINE_TAEHV_FOLDER_H_
#define LONGTAKE_TESTS_ENGINE_TAEHV_FOLDER_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/core/safetensors.h"

namespace longtake {

struct TaehvFile {
  std::map<std::string, std::vector<int64_t>> tensors;

  // Widths of 8, 6, 5 and 4. `times`: frames that the stages make of one.
  explicit TaehvFile(std::array<int, 3> times = {1, 2, 2}, int patch = 1, int64_t channels = 4) {
    const std::array<int64_t, 4> widths = {8, 6, 5, 4};
    Conv("decoder.1", widths[0], channels);
    for (int stage = 0; stage < 3; ++stage) {
      const int layer = 3 + 6 * stage;
      const int64_t width = widths[stage];
      for (int block = layer; block < layer + 3; ++block) {
        Conv(absl::StrCat("decoder.", block, ".conv.0"), width, 2 * width);
        Conv(absl::StrCat("decoder.", block, ".conv.2"), width, width);
        Conv(absl::StrCat("decoder.", block, ".conv.4"), width, width);
      }
      tensors[absl::StrCat("decoder.", layer + 4, ".conv.weight")] = {width * times[stage], width, 1, 1};
      tensors[absl::StrCat("decoder.", layer + 5, ".weight")] = {widths[stage + 1], width, 3, 3};
    }
    Conv("decoder.22", int64_t{3} * patch * patch, widths[3]);
    Conv("encoder.0", 8, int64_t{3} * patch * patch);  // published files have one
  }

  // Values that follow from the tensors' names, so that files with other tensors have the same in these.
  std::map<std::string, std::vector<float>> Values() const {
    std::map<std::string, std::vector<float>> values;
    for (const auto& [name, shape] : tensors) {
      std::mt19937 random(static_cast<uint32_t>(name.size() * 31 + name[name.size() / 2]));
      int64_t count = 1;
      for (const int64_t d : shape) count *= d;
      // As wide as keeps the frames' size behind a ReLU.
      std::normal_distribution<float> normal(
          0.f, shape.size() == 1 ? 0.1f : std::sqrt(2.f * static_cast<float>(shape[0]) / static_cast<float>(count)));
      for (int64_t i = 0; i < count; ++i) values[name].push_back(normal(random));
    }
    return values;
  }
  void Write(const std::string& path, const std::map<std::string, std::vector<float>>& values) const {
    std::map<std::string, HostTensor> file;
    for (const auto& [name, shape] : tensors) file[name] = {values.at(name).data(), DType::kF32, shape};
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    if (!WriteSafetensors(path, file).ok()) std::abort();
  }
  void Write(const std::string& path) const { Write(path, Values()); }

 private:
  void Conv(const std::string& name, int64_t outputs, int64_t inputs) {
    tensors[name + ".weight"] = {outputs, inputs, 3, 3};
    tensors[name + ".bias"] = {outputs};
  }
};

}  // namespace longtake

#endif  // LONGTAKE_TESTS_ENGINE_TAEHV_FOLDER_H_
