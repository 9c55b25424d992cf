#include "bench/serving/pass_table.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace longtake::bench {

double PassTable::TransformerSeconds(double latents) const {
  if (transformer.size() == 1) return latents * transformer[0].second / transformer[0].first;
  auto right = std::upper_bound(transformer.begin(), transformer.end(), std::pair(latents, 0.0));
  right = std::clamp(right, transformer.begin() + 1, transformer.end() - 1);
  const auto [x0, y0] = *(right - 1);
  const auto [x1, y1] = *right;
  const double line = y0 + (y1 - y0) * (latents - x0) / (x1 - x0);
  // Below the first point the line may not reach 0: half the picture takes a quarter of the time at least.
  return latents < x0 ? std::max(line, y0 * latents / x0 / 2) : line;
}

double PassTable::BlockCost(double scale) const {
  const auto [most, seconds] = transformer.back();
  return scale * block_latents * ((steps + 1) * seconds / most + decode);
}

std::vector<int> PassTable::Blocks(double seconds) const {
  const int latents = std::max(1, 1 + static_cast<int>(std::lround((seconds * fps - 1) / frames_per_latent)));
  if (latents < block_latents) return {latents};
  std::vector<int> blocks(latents / block_latents, block_latents);
  blocks.front() += latents % block_latents;
  return blocks;
}

absl::StatusOr<PassTable> LoadTable(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  PassTable table;
  try {
    const nlohmann::json json = nlohmann::json::parse(file);
    json.at("name").get_to(table.name);
    json.at("source").get_to(table.source);
    json.at("places").get_to(table.places);
    json.at("steps").get_to(table.steps);
    json.at("block_latents").get_to(table.block_latents);
    json.at("frames_per_latent").get_to(table.frames_per_latent);
    json.at("fps").get_to(table.fps);
    json.at("text").get_to(table.text);
    json.at("transformer").get_to(table.transformer);
    json.at("decode").get_to(table.decode);
    json.at("encode").get_to(table.encode);
    json.at("encode_begin").get_to(table.encode_begin);
    json.at("engine_speed").get_to(table.engine_speed);
    json.at("encoder_speed").get_to(table.encoder_speed);
    table.overlap_speed = json.value("overlap_speed", 1.0);
    json.at("noise").get_to(table.noise);
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
  const auto above_0 = [](const auto& values) {
    return !values.empty() && std::all_of(values.begin(), values.end(), [](double value) { return value > 0; });
  };
  const auto at_fault = [&](const char* field) { return absl::InvalidArgumentError(absl::StrCat(path, ": ", field)); };
  if (std::min({table.places, table.steps, table.block_latents, table.frames_per_latent}) < 1) {
    return at_fault("places, steps, block_latents, frames_per_latent: each at least 1");
  }
  if (!(table.fps > 0) || !(table.decode > 0)) return at_fault("fps, decode: above 0");
  if (table.transformer.empty() || !(table.transformer.front().first > 0) ||
      !std::is_sorted(table.transformer.begin(), table.transformer.end())) {
    return at_fault("transformer: points (latent frames, seconds), ascending from above 0");
  }
  if (!(table.text >= 0) || !(table.encode >= 0) || !(table.encode_begin >= 0)) {
    return at_fault("text, encode, encode_begin: at least 0");
  }
  if (!above_0(table.engine_speed) || !(table.encoder_speed > 0) || !(table.overlap_speed > 0)) {
    return at_fault("engine_speed, encoder_speed, overlap_speed: above 0");
  }
  if (!above_0(table.noise)) return at_fault("noise: factors above 0");
  return table;
}

}  // namespace longtake::bench
