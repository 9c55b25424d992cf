// Reads the fields of a serialized protocol buffer one after the other.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_WIRE_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_WIRE_H_

#include <cstdint>
#include <string_view>

namespace longtake {

// Usage: while (reader.Next()) { ... reader.field() ... }  if (!reader.ok()) { malformed }
class WireReader {
 public:
  explicit WireReader(std::string_view message) : rest_(message) {}

  // Advances to the next field. Returns false at the end, and if the message is malformed.
  bool Next();
  bool ok() const { return ok_; }

  uint32_t field() const { return field_; }
  // The value of a varint or fixed-width field; 0 for other fields.
  uint64_t number() const { return number_; }
  // The value of a fixed32 field as a float.
  float fixed_float() const;
  // The value of a length-delimited field: a string, bytes or a message.
  std::string_view bytes() const { return bytes_; }

 private:
  bool Varint(uint64_t* value);
  bool Fixed(size_t bytes);

  std::string_view rest_;
  bool ok_ = true;
  uint32_t field_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_WIRE_H_
