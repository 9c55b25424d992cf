// The model families that a folder can belong to, with the name and default settings of each.
#ifndef LONGTAKE_ENGINE_MODELS_FOLDER_FAMILY_H_
#define LONGTAKE_ENGINE_MODELS_FOLDER_FAMILY_H_

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace longtake {

enum class Family {
  kSanaVideo480p,  // SANA-Video 2B, bidirectional, Wan 2.1 VAE
  kSanaVideo720p,  // the same transformer with the LTX-2 VAE
  kSanaVideo2,     // SANA-Video 2.0 5B at 720p, bidirectional, another transformer, LTX-2.3 VAE
  kLongSana,       // SANA-Video 2B 480p distilled to block-causal few-step generation
  kLongtake,       // any other model of this architecture; longtake.json sets what differs
};

inline constexpr std::array kFamilies = {Family::kSanaVideo480p, Family::kSanaVideo720p, Family::kSanaVideo2,
                                         Family::kLongSana, Family::kLongtake};

// "sana_video_480p", "sana_video_720p", "sana_video_2", "longsana", "longtake": the values of longtake.json's `family`.
std::string FamilyName(Family family);
std::optional<Family> FamilyNamed(std::string_view name);

// The text of families/NAME.json, which is compiled in: {"settings": fields of longtake.json, "like": a family whose
// settings are applied first, "sources": where the numbers come from}.
std::string_view FamilyData(Family family);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_FOLDER_FAMILY_H_
