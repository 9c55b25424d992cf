#include "engine/core/weight_files.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"

namespace longtake {
namespace {

constexpr size_t kListed = 12;  // file names in an error, at most

enum class Kind { kSingle, kShard, kIndex };

struct WeightName {
  Kind kind;
  std::string variant;  // empty: none
};

// What follows the stem in the name of a weight file; `*` is a variant. Any field may end with a shard's number.
constexpr std::pair<const char*, Kind> kSpellings[] = {
    {".safetensors", Kind::kSingle},
    {".*.safetensors", Kind::kSingle},
    {".safetensors.index.json", Kind::kIndex},
    {".safetensors.index.*.json", Kind::kIndex},
    {".*.safetensors.index.json", Kind::kIndex},
    {".index.*.json", Kind::kIndex},
};

bool IsVariant(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

bool IsNumber(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// Removes the first "-N-of-M" from `text`; returns false if there is none.
bool TakeShardNumber(std::string* text) {
  const size_t begin = text->find('-');
  if (begin == std::string::npos) return false;
  const size_t end = std::min(text->find('.', begin), text->size());
  const std::vector<std::string> parts = absl::StrSplit(text->substr(begin + 1, end - begin - 1), '-');
  if (parts.size() != 3 || !IsNumber(parts[0]) || parts[1] != "of" || !IsNumber(parts[2])) return false;
  text->erase(begin, end - begin);
  return true;
}

// Returns the variant if `fields` match `spelling`.
std::optional<std::string> Match(const std::vector<std::string>& fields, const char* spelling) {
  const std::vector<std::string> wanted = absl::StrSplit(spelling, '.');
  if (fields.size() != wanted.size()) return std::nullopt;
  std::string variant;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (wanted[i] == "*" && IsVariant(fields[i])) {
      variant = fields[i];
    } else if (fields[i] != wanted[i]) {
      return std::nullopt;
    }
  }
  return variant;
}

// Classifies `file` as one of the weight files of `stem`; nullopt if it is none.
std::optional<WeightName> ParseName(const std::string& file, const std::string& stem) {
  if (!file.starts_with(stem)) return std::nullopt;
  std::string rest = file.substr(stem.size());
  const bool shard = TakeShardNumber(&rest);
  const std::vector<std::string> fields = absl::StrSplit(rest, '.');
  for (const auto& [spelling, kind] : kSpellings) {
    if (shard && kind == Kind::kIndex) continue;
    if (std::optional<std::string> variant = Match(fields, spelling)) {
      return WeightName{shard ? Kind::kShard : kind, *std::move(variant)};
    }
  }
  return std::nullopt;
}

// The files of one variant.
struct Save {
  std::vector<std::string> singles, shards, indices;
};

std::string Listed(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  if (names.size() <= kListed) return absl::StrJoin(names, ", ");
  const size_t more = names.size() - kListed;
  names.resize(kListed);
  return absl::StrCat(absl::StrJoin(names, ", "), " and ", more, " more");
}

bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

absl::StatusOr<WeightFiles> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(JsonConfig config, JsonConfig::Load(path));
  config.Ignore({"metadata"});
  const nlohmann::json* map = config.Raw("weight_map");
  if (map == nullptr || !map->is_object()) config.Fail("weight_map", "must be an object");
  RETURN_IF_ERROR(config.Finish());
  WeightFiles files{.path = path, .indexed = true, .files = {}};
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !IsPlainName(shard.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor, "' has no plain file name"));
    }
    files.files[shard.get_ref<const std::string&>()].insert(tensor);
  }
  return files;
}

absl::Status NoWeights(const std::string& folder, const std::string& stem, const std::vector<std::string>& found) {
  const std::string wanted = absl::StrCat(folder, "/", stem, ".safetensors: does not exist");
  for (const std::string& file : found) {
    for (const char* ending : {".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".gguf"}) {
      if (!file.ends_with(ending)) continue;
      return absl::NotFoundError(absl::StrCat(
          wanted, ", and ", file, " is in a format that is not read; save the model as safetensors ",
          "(save_pretrained of diffusers and transformers does, tools.convert does for original checkpoints)"));
    }
  }
  if (found.empty()) return absl::NotFoundError(absl::StrCat(wanted, "; the folder is empty"));
  return absl::NotFoundError(absl::StrCat(wanted, "; the folder holds ", Listed(found)));
}

// Returns the files of `save`, which must all be of the same save.
absl::StatusOr<WeightFiles> Resolve(const std::string& folder, const Save& save) {
  const auto stale = [&](std::vector<std::string> one, const std::vector<std::string>& other) {
    one.insert(one.end(), other.begin(), other.end());
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": ", Listed(one), " are not of one save; remove the files that are out of date"));
  };
  if (save.indices.size() > 1) return stale(save.indices, {});
  if (save.indices.empty()) {
    if (!save.singles.empty() && !save.shards.empty()) return stale(save.singles, save.shards);
    if (!save.singles.empty())
      return WeightFiles{.path = folder + "/" + save.singles[0], .files = {{save.singles[0], {}}}};
    return absl::NotFoundError(
        absl::StrCat(folder, ": ", Listed(save.shards), " have no index (.safetensors.index.json)"));
  }
  ASSIGN_OR_RETURN(WeightFiles files, ReadIndex(folder + "/" + save.indices[0]));
  std::vector<std::string> others;
  for (const std::vector<std::string>* names : {&save.singles, &save.shards}) {
    for (const std::string& name : *names) {
      if (!files.files.contains(name)) others.push_back(name);
    }
  }
  if (!others.empty()) return stale(save.indices, others);
  return files;
}

}  // namespace

absl::StatusOr<WeightFiles> FindWeightFiles(const std::string& folder, const std::string& stem) {
  std::error_code error;
  std::vector<std::string> found;
  std::map<std::string, Save> saves;  // by variant
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string file = it->path().filename().string();
    found.push_back(file);
    const std::optional<WeightName> name = ParseName(file, stem);
    if (!name) continue;
    Save& save = saves[name->variant];
    (name->kind == Kind::kSingle  ? save.singles
     : name->kind == Kind::kShard ? save.shards
                                  : save.indices)
        .push_back(file);
  }
  if (error) return absl::NotFoundError(absl::StrCat(folder, ": cannot be read: ", error.message()));
  if (saves.empty()) return NoWeights(folder, stem, found);
  // As in diffusers, the plain files are preferred, and variants beside them are ignored.
  if (const auto plain = saves.find(""); plain != saves.end()) return Resolve(folder, plain->second);
  if (saves.size() == 1) return Resolve(folder, saves.begin()->second);
  std::vector<std::string> variants;
  variants.reserve(saves.size());
  for (const auto& [variant, save] : saves) variants.push_back(variant);
  return absl::InvalidArgumentError(absl::StrCat(folder, ": holds the variants ", Listed(variants), " of ", stem,
                                                 " and no plain files; remove all variants but one"));
}

}  // namespace longtake
