#include "engine/runtime/checkpoint.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "engine/core/fnv1a.h"
#include "engine/ops/arena.h"

namespace longtake {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints are little-endian");

constexpr char kMagic[8] = {'L', 'O', 'N', 'G', 'T', 'A', 'K', 'E'};
// What a session without adapters or a first image saves can be restored by programs that do not know them.
constexpr uint32_t kVersion = 1, kVersionWithAdapters = 2, kVersionWithImage = 3;
constexpr size_t kSummed = 16;  // the checksum covers the bytes from here to the end
constexpr size_t kPrefix = 28;  // magic, version, checksum, sizes

// FieldWriter and FieldReader visit the fields after the prefix in the same order, so that VisitFields is the only list
// of fields for measuring, writing and reading.
class FieldWriter {
 public:
  explicit FieldWriter(std::byte* to) : to_(to) {}
  template <typename T>
  void Number(const T& value) {
    static_assert(std::is_arithmetic_v<T>);
    Put(&value, sizeof value);
  }
  void Text(const std::string& text) {
    Number(static_cast<uint32_t>(text.size()));
    Put(text.data(), text.size());
  }
  void Adapters(const std::vector<AdapterUse>& adapters, const std::string& first_image) {
    if (adapters.empty() && first_image.empty()) return;
    Number(static_cast<uint32_t>(adapters.size()));
    for (const AdapterUse& adapter : adapters) {
      Text(adapter.name);
      Number(std::bit_cast<uint64_t>(adapter.strength));
      Text(adapter.digest);
    }
    if (!first_image.empty()) Text(first_image);
  }
  size_t at() const { return at_; }

 private:
  void Put(const void* from, size_t bytes) {
    if (to_ != nullptr) std::memcpy(to_ + at_, from, bytes);
    at_ += bytes;
  }
  std::byte* to_;  // null: only measures
  size_t at_ = kPrefix;
};

class FieldReader {
 public:
  FieldReader(std::span<const std::byte> header, uint32_t version) : header_(header), version_(version) {}
  template <typename T>
  void Number(T& value) {
    static_assert(std::is_arithmetic_v<T>);
    Take(&value, sizeof value);
  }
  void Text(std::string& text) {
    uint32_t bytes = 0;
    Number(bytes);
    if (bytes > header_.size() - at_) {
      ok_ = false;
      return;
    }
    text.resize(bytes);
    Take(text.data(), bytes);
  }
  void Adapters(std::vector<AdapterUse>& adapters, std::string& first_image) {
    uint32_t count = 0;
    if (version_ == kVersion) return;
    Number(count);
    ok_ = ok_ && (count >= 1 || version_ == kVersionWithImage) && count <= kMaxSessionAdapters;
    for (uint32_t i = 0; ok_ && i < count; ++i) {
      AdapterUse& adapter = adapters.emplace_back();
      uint64_t strength = 0;
      Text(adapter.name);
      Number(strength);
      Text(adapter.digest);
      adapter.strength = std::bit_cast<double>(strength);
      ok_ = ok_ && std::abs(adapter.strength) <= kMaxAdapterStrength;  // false for what is no number
    }
    if (version_ != kVersionWithImage) return;
    Text(first_image);
    ok_ = ok_ && first_image.size() == kDigestBytes;
  }
  bool ok() const { return ok_; }

 private:
  void Take(void* to, size_t bytes) {
    ok_ = ok_ && bytes <= header_.size() - at_;
    if (!ok_) return;
    std::memcpy(to, header_.data() + at_, bytes);
    at_ += bytes;
  }
  std::span<const std::byte> header_;
  uint32_t version_;
  size_t at_ = kPrefix;
  bool ok_ = true;
};

template <typename Fields, typename Saved>
void VisitFields(Fields& fields, Saved& c) {
  fields.Text(c.numerics_id);
  fields.Text(c.model_digest);
  fields.Number(c.spec.size.width);
  fields.Number(c.spec.size.height);
  fields.Number(c.spec.latent_frames);
  fields.Number(c.spec.seed);
  fields.Number(c.position.block);
  fields.Number(c.position.decoded);
  fields.Number(c.position.prompt_from);
  fields.Number(c.position.prompt.positive);
  fields.Number(c.position.prompt.negative);
  fields.Number(c.position.next_prompt.positive);
  fields.Number(c.position.next_prompt.negative);
  // Bools are stored as bytes, because copying a byte other than 0 or 1 into a bool is undefined.
  auto has_prompt = static_cast<uint8_t>(c.position.has_prompt), waits = static_cast<uint8_t>(c.position.prompt_waits);
  fields.Number(has_prompt);
  fields.Number(waits);
  if constexpr (!std::is_const_v<Saved>) {
    c.position.has_prompt = has_prompt != 0;
    c.position.prompt_waits = waits != 0;
  }
  fields.Adapters(c.spec.adapters, c.first_image);
}

template <typename T>
T At(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string Text(const SessionSpec& s) {
  return absl::StrCat(s.size.width, "x", s.size.height, ", ", s.latent_frames, " latent frames, seed ", s.seed);
}

std::string Text(const std::vector<AdapterUse>& adapters) {
  std::string text;
  for (const AdapterUse& a : adapters) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", a.name, "=", a.strength, " (", a.digest, ")");
  }
  return text.empty() ? "none" : text;
}

}  // namespace

std::string DigestOf(const std::shared_ptr<const FirstImage>& image) {
  if (image == nullptr) return "";
  Fnv1a hash;
  hash.Add({reinterpret_cast<const char*>(image->rgb.data()), image->rgb.size()});
  return hash.hex();
}

size_t CheckpointHeaderBytes(const Checkpoint& checkpoint) {
  FieldWriter count(nullptr);
  VisitFields(count, checkpoint);
  return Aligned(count.at());
}

void SealCheckpoint(const Checkpoint& checkpoint, std::span<std::byte> bytes) {
  const auto header = static_cast<uint32_t>(CheckpointHeaderBytes(checkpoint));
  const uint64_t size = bytes.size();
  std::memset(bytes.data(), 0, header);
  std::memcpy(bytes.data(), kMagic, sizeof kMagic);
  const uint32_t version = !checkpoint.first_image.empty()     ? kVersionWithImage
                           : !checkpoint.spec.adapters.empty() ? kVersionWithAdapters
                                                               : kVersion;
  std::memcpy(bytes.data() + 8, &version, sizeof version);
  std::memcpy(bytes.data() + 16, &size, sizeof size);
  std::memcpy(bytes.data() + 24, &header, sizeof header);
  FieldWriter fields(bytes.data());
  VisitFields(fields, checkpoint);
  const uint32_t sum = Crc32c(bytes.subspan(kSummed));
  std::memcpy(bytes.data() + 12, &sum, sizeof sum);
}

absl::StatusOr<Checkpoint> ReadCheckpoint(std::span<const std::byte> bytes, std::span<const std::byte>* memory) {
  if (bytes.size() < sizeof kMagic || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return absl::DataLossError("checkpoint: the bytes are none");
  }
  if (bytes.size() < kPrefix) return absl::DataLossError("checkpoint: it is cut off in its header");
  const auto version = At<uint32_t>(bytes, 8);
  if (version < kVersion || version > kVersionWithImage) {
    return absl::DataLossError(
        absl::StrCat("checkpoint: it has version ", version, "; ", kVersion, " to ", kVersionWithImage, " are read"));
  }
  if (const auto size = At<uint64_t>(bytes, 16); size != bytes.size()) {
    return absl::DataLossError(absl::StrCat("checkpoint: it has ", bytes.size(), " bytes of ", size));
  }
  if (At<uint32_t>(bytes, 12) != Crc32c(bytes.subspan(kSummed))) {
    return absl::DataLossError("checkpoint: its bytes have changed, the checksum differs");
  }
  // The checksum detects damage, not forgery: a crafted header can carry a valid checksum. Every field is therefore
  // checked.
  const auto header = At<uint32_t>(bytes, 24);
  Checkpoint checkpoint;
  if (header < kPrefix || header > bytes.size()) return absl::DataLossError("checkpoint: its header is no such");
  FieldReader fields(bytes.first(header), version);
  VisitFields(fields, checkpoint);
  if (!fields.ok()) return absl::DataLossError("checkpoint: its header is no such");
  if (memory != nullptr) *memory = bytes.subspan(header);
  return checkpoint;
}

absl::Status CheckSameSession(const Checkpoint& checkpoint, const ModelInfo& model, const SessionSpec& spec) {
  const auto check = [](const char* what, const std::string& saved, const std::string& here) {
    return saved == here ? absl::OkStatus()
                         : absl::FailedPreconditionError(absl::StrCat("checkpoint: its ", what, " is ",
                                                                      saved.substr(0, 120), ", that here is ", here));
  };
  absl::Status status = check("model", checkpoint.model_digest, model.model_digest);
  status.Update(check("numerics id", checkpoint.numerics_id, model.numerics_id));
  status.Update(check("spec", Text(checkpoint.spec), Text(spec)));
  status.Update(check("list of adapters", Text(checkpoint.spec.adapters), Text(spec.adapters)));
  // Texts round strengths to six digits.
  if (checkpoint.spec.adapters != spec.adapters) {
    status.Update(absl::FailedPreconditionError("checkpoint: the strength of an adapter differs"));
  }
  const auto image = [](const std::string& digest) { return digest.empty() ? "none" : digest; };
  status.Update(check("first image", image(checkpoint.first_image), image(DigestOf(spec.first_image))));
  return status;
}

}  // namespace longtake
