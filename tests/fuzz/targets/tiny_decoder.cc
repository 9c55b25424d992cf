// A tiny decoder's file, whose architecture follows from the shapes of its tensors.
#include <cstdint>
#include <memory>
#include <string>

#include "engine/models/taehv/load.h"
#include "engine/reference/reference_ops.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"

using namespace longtake;  // NOLINT: a program of one function
using longtake::fuzz::Check;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static longtake::fuzz::MemoryFile file;
  static const std::unique_ptr<Ops> ops = MakeReferenceOps();
  file.Write(std::string(longtake::fuzz::ToText(data, size)));
  const auto decoder = LoadTinyDecoder(file.path(), nullptr, ops.get());
  if (!decoder.ok()) {
    Check(std::string(decoder.status().message()).find(file.path()) != std::string::npos,
          "an error does not name the file");
    return 0;
  }
  const LatentGeometry& geometry = (*decoder)->geometry();
  Check(geometry.channels >= 1 && geometry.stride_h == 8 * (*decoder)->patch(), "a geometry that no decoder has");
  const auto sized = (*decoder)->ForLatents(1, 1);
  const auto caches = ops->device().Allocate(sized->cache_bytes());
  const auto scratch = ops->device().Allocate(sized->scratch_bytes());
  const auto latent = ops->device().Allocate(geometry.channels * sizeof(float));
  VideoStream stream{.caches = caches->data()};
  for (int64_t t = 0; t < 2; ++t) {
    int64_t frames = 0;
    sized->Decode(latent->f32(), 1, 0, &stream, scratch->data(), [&](const VideoFrame&) { ++frames; });
    Check(frames == (t == 0 ? 1 : geometry.frames), "other frames than the geometry says");
  }
  return 0;
}
