#include "engine/models/taehv/load.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/safetensors.h"
#include "engine/models/taehv/decoder.h"

namespace longtake {

absl::StatusOr<std::string> FindTinyDecoder(const std::string& model_folder) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(model_folder) / "tiny_decoder";
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) return std::string();
  std::vector<std::string> files;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".safetensors") files.push_back(at->path());
  }
  if (error) return absl::InvalidArgumentError(absl::StrCat(folder.string(), ": ", error.message()));
  std::sort(files.begin(), files.end());
  if (files.empty()) return absl::NotFoundError(absl::StrCat(folder.string(), ": has no .safetensors file"));
  if (files.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(files[1], ": is a second tiny decoder beside ", fs::path(files[0]).filename().string()));
  }
  return files[0];
}

absl::StatusOr<std::unique_ptr<VideoDecoder>> LoadTinyDecoder(const std::string& file, const LatentGeometry* vae,
                                                              Ops* ops, LoadProgress progress) {
  ASSIGN_OR_RETURN(TensorStore store, TensorStore::OpenFile(file));
  ASSIGN_OR_RETURN(const TaehvShape shape, ReadTaehvShape(store, vae));
  const LatentGeometry geometry = shape.geometry();
  if (vae != nullptr) {
    const auto agrees = [&](const char* what, int64_t tiny, int64_t full) {
      return tiny == full
                 ? absl::OkStatus()
                 : absl::InvalidArgumentError(absl::StrCat(file, ": has ", tiny, " ", what, ", the VAE has ", full));
    };
    RETURN_IF_ERROR(agrees("latent channels", geometry.channels, vae->channels));
    RETURN_IF_ERROR(agrees("pixels per latent, vertically", geometry.stride_h, vae->stride_h));
    RETURN_IF_ERROR(agrees("pixels per latent, horizontally", geometry.stride_w, vae->stride_w));
    RETURN_IF_ERROR(agrees("frames of the first latent", geometry.first_frames, vae->first_frames));
  }
  store.Ignore("encoder.");
  WeightLoader weights(*ops, store, std::move(progress));
  TaehvLoader loader(weights);
  auto decoder = std::make_unique<TaehvDecoder>(shape, loader, ops);
  RETURN_IF_ERROR(weights.Finish());
  return decoder;
}

}  // namespace longtake
