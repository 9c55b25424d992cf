#include "engine/core/safetensors_entries.h"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace longtake {
namespace {

using nlohmann::json;

// Limits that keep the entries of a hostile header small. Published models have some 1,000 tensors a file, names of up
// to 100 bytes and at most 5 dimensions; torch itself allows 64.
constexpr size_t kMaxTensors = 200'000;
constexpr size_t kMaxNameBytes = 1'000;
constexpr size_t kMaxDimensions = 64;

std::optional<DType> ParseType(const std::string& name) {
  for (const DType t : {DType::kF32, DType::kBF16, DType::kF16, DType::kI64, DType::kI32, DType::kU8, DType::kE4m3}) {
    if (name == SafetensorsName(t)) return t;
  }
  if (name == "BOOL") return DType::kU8;
  return std::nullopt;
}

// The parser calls one method for each event. Returning false ends the parse; error() has the reason.
class EntryReader final : public nlohmann::json_sax<json> {
 public:
  EntryReader(uint64_t data, std::map<std::string, TensorEntry>* entries, std::map<std::string, std::string>* metadata)
      : data_(data), entries_(*entries), metadata_(metadata) {}

  const std::string& error() const { return error_; }

  bool start_object(std::size_t) override {
    if (level_ == Level::kFile) {
      level_ = Level::kHeader;
    } else if (level_ == Level::kHeader) {
      level_ = in_metadata_ ? Level::kMetadata : Level::kTensor;
    } else {
      return WrongType();
    }
    return true;
  }

  bool end_object() override {
    if (level_ == Level::kTensor && !FinishTensor()) return false;
    level_ = level_ == Level::kHeader ? Level::kFile : Level::kHeader;
    return true;
  }

  bool key(string_t& key) override {
    if (level_ == Level::kTensor) return BeginField(key);
    if (level_ != Level::kMetadata) return BeginMember(key);
    if (metadata_ != nullptr) metadata_key_ = key;
    return true;
  }

  bool start_array(std::size_t) override {
    if (level_ != Level::kTensor || field_ == Field::kType) return WrongType();
    level_ = Level::kList;
    return true;
  }

  bool end_array() override {
    level_ = Level::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (level_ != Level::kList || value > uint64_t{std::numeric_limits<int64_t>::max()}) return WrongType();
    if (field_ == Field::kOffsets) {
      offsets_.push_back(value);
      return offsets_.size() <= 2 || WrongType();
    }
    entry_.shape.push_back(static_cast<int64_t>(value));
    return entry_.shape.size() <= kMaxDimensions ||
           FailTensor(absl::StrCat("has more than ", kMaxDimensions, " dimensions"));
  }

  bool string(string_t& value) override {
    if (level_ == Level::kMetadata) return KeepMetadata(value);
    if (level_ != Level::kTensor || field_ != Field::kType) return WrongType();
    const std::optional<DType> type = ParseType(value);
    if (!type) return FailTensor(absl::StrCat("has the type '", value.substr(0, 40), "', which is not known"));
    entry_.dtype = *type;
    return true;
  }

  bool null() override { return WrongType(); }
  bool boolean(bool) override { return WrongType(); }
  bool number_integer(number_integer_t) override { return WrongType(); }  // called for negative numbers only
  bool number_float(number_float_t, const string_t&) override { return WrongType(); }
  bool binary(binary_t&) override { return WrongType(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("header is not a JSON object (byte ", position, ")"));
  }

 private:
  enum class Level { kFile, kHeader, kMetadata, kTensor, kList };
  enum class Field { kType, kShape, kOffsets };
  static constexpr const char* kFields[] = {"dtype", "shape", "data_offsets"};

  bool Fail(std::string why) {
    if (error_.empty()) error_ = std::move(why);
    return false;
  }
  bool FailTensor(const std::string& why) { return Fail(absl::StrCat("tensor '", name_, "' ", why)); }

  // Fails because the next value has a type that is not allowed here.
  bool WrongType() {
    if (level_ == Level::kFile) return Fail("header is not a JSON object");
    if (in_metadata_) return Fail("'__metadata__' does not map strings to strings");
    if (level_ == Level::kHeader) return FailTensor("has no dtype, shape and data_offsets");
    if (field_ == Field::kType) return FailTensor("has a dtype that is not a string");
    return FailTensor(field_ == Field::kShape ? "has a shape that is not a list of sizes"
                                              : "has data_offsets that are not two sizes");
  }

  // Begins a member of the header: a tensor or the metadata.
  bool BeginMember(const std::string& name) {
    in_metadata_ = name == "__metadata__";
    name_ = name.substr(0, kMaxNameBytes);
    if (name.size() > kMaxNameBytes) return FailTensor(absl::StrCat("has a name of ", name.size(), " bytes"));
    if (in_metadata_ ? std::exchange(has_metadata_, true) : entries_.contains(name)) {
      return FailTensor("is in the header twice");
    }
    entry_ = {};
    offsets_.clear();
    for (bool& seen : seen_) seen = false;
    return true;
  }

  bool KeepMetadata(const std::string& value) {
    if (metadata_ == nullptr) return true;
    metadata_bytes_ += metadata_key_.size() + value.size();
    if (metadata_bytes_ > kMaxMetadataBytes) {
      return Fail(absl::StrCat("has more than ", kMaxMetadataBytes, " bytes of metadata"));
    }
    return metadata_->emplace(metadata_key_, value).second || Fail("has metadata with two equal keys");
  }

  bool BeginField(const std::string& name) {
    for (int i = 0; i < 3; ++i) {
      if (name != kFields[i]) continue;
      field_ = static_cast<Field>(i);
      return !std::exchange(seen_[i], true) || FailTensor(absl::StrCat("has two fields '", name, "'"));
    }
    return FailTensor(absl::StrCat("has the field '", name.substr(0, 40), "', which is not known"));
  }

  bool FinishTensor() {
    if (!seen_[0] || !seen_[1] || !seen_[2]) return FailTensor("has no dtype, shape and data_offsets");
    field_ = Field::kOffsets;
    if (offsets_.size() != 2) return WrongType();
    uint64_t bytes = SizeOf(entry_.dtype);
    for (const int64_t d : entry_.shape) {
      if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(d), &bytes)) {
        return FailTensor("has a shape that no file can hold");
      }
    }
    const uint64_t begin = offsets_[0], end = offsets_[1];
    if (begin > end || end > data_) {
      return FailTensor(
          absl::StrCat("has offsets ", begin, " to ", end, " outside the file's ", data_, " bytes of data"));
    }
    if (end - begin != bytes) {
      return FailTensor(absl::StrCat("has ", end - begin, " bytes where its shape needs ", bytes));
    }
    entry_.begin = begin;
    entry_.bytes = bytes;
    entries_[name_] = std::move(entry_);
    return entries_.size() <= kMaxTensors || Fail(absl::StrCat("has more than ", kMaxTensors, " tensors"));
  }

  const uint64_t data_;
  std::map<std::string, TensorEntry>& entries_;
  std::map<std::string, std::string>* const metadata_;
  std::string metadata_key_;
  uint64_t metadata_bytes_ = 0;
  std::string error_;
  Level level_ = Level::kFile;
  bool has_metadata_ = false;
  // State of the member being read:
  bool in_metadata_ = false;
  std::string name_;
  TensorEntry entry_;
  std::vector<uint64_t> offsets_;
  Field field_ = Field::kType;
  bool seen_[3] = {};
};

}  // namespace

std::string ParseSafetensorsEntries(std::string_view text, uint64_t data, std::map<std::string, TensorEntry>* entries,
                                    std::map<std::string, std::string>* metadata) {
  // The format requires '{' as the first byte of the header, so that a reader can detect the file type from it.
  if (!text.starts_with('{')) return "header is not a JSON object that begins with '{'";
  EntryReader reader(data, entries, metadata);
  if (json::sax_parse(text, &reader)) return "";
  return reader.error();
}

}  // namespace longtake
