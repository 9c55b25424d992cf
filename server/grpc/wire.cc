#include "server/grpc/wire.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "longtake/v1/events.pb.h"
#include "server/grpc/translate.h"

namespace longtake::server {
namespace {

using google::protobuf::io::CodedOutputStream;

// The first digits of a video's id, by which tokens of another video are refused. `name` may be anything that a client
// has sent.
absl::string_view IdStart(absl::string_view name) { return absl::StripPrefix(name, "videos/").substr(0, 8); }

std::string ResumeToken(const std::string& name, const Position& next) {
  return absl::StrCat(IdStart(name), ".", next.piece, ".", next.message);
}

// The tag and length in front of a length-delimited field of `size` bytes.
std::string FieldHead(int number, size_t size) {
  std::array<uint8_t, 10> bytes;
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(number) << 3 | 2, bytes.data());
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(size), end);
  return std::string(bytes.data(), end);
}

// A response whose media bytes come last, so that they need not be copied into it. `inner` is the serialised
// InitSegment or Chunk without `data`, of which `data` is field 1 in both.
Message Framed(const v1::WatchVideoResponse& response, int field, const std::string& inner, size_t begin, size_t size) {
  const std::string data_head = FieldHead(v1::Chunk::kDataFieldNumber, size);
  static_assert(int{v1::Chunk::kDataFieldNumber} == int{v1::InitSegment::kDataFieldNumber});
  return {.head = absl::StrCat(response.SerializeAsString(), FieldHead(field, inner.size() + data_head.size() + size),
                               inner, data_head),
          .media_begin = begin,
          .media_size = size};
}

std::vector<Message> ChunkMessages(const Event& event, size_t media_size, uint64_t piece, const std::string& name,
                                   size_t max_part_bytes) {
  const auto& chunk = std::get<Chunk>(event.body);
  const size_t parts = std::max<size_t>(1, (media_size + max_part_bytes - 1) / max_part_bytes);
  std::vector<Message> messages;
  for (size_t part = 0; part < parts; ++part) {
    v1::WatchVideoResponse response;
    *response.mutable_elapsed_duration() = ToProto(event.elapsed);
    response.set_resume_token(ResumeToken(name, part + 1 < parts ? Position{piece, part + 1} : Position{piece + 1, 0}));
    const std::string inner =
        ToProto(chunk, static_cast<int>(part), static_cast<int>(parts), static_cast<int64_t>(media_size))
            .SerializeAsString();
    const size_t begin = part * max_part_bytes;
    messages.push_back(Framed(response, v1::WatchVideoResponse::kChunkFieldNumber, inner, begin,
                              std::min(max_part_bytes, media_size - begin)));
  }
  return messages;
}

}  // namespace

ChunkLog::Serializer WireSerializer(const std::string& name, size_t max_part_bytes) {
  return [name, max_part_bytes](const Event& event, size_t media_size, uint64_t piece) -> std::vector<Message> {
    if (std::holds_alternative<Chunk>(event.body)) {
      return ChunkMessages(event, media_size, piece, name, max_part_bytes);
    }
    // Waiting and Progress take no place in the log: what comes after them is the piece at theirs.
    const bool passing = std::holds_alternative<Waiting>(event.body) || std::holds_alternative<Progress>(event.body);
    v1::WatchVideoResponse response = ToProto(event);
    response.set_resume_token(ResumeToken(name, {passing ? piece : piece + 1, 0}));
    if (std::holds_alternative<InitSegment>(event.body)) {
      response.clear_init_segment();
      return {Framed(response, v1::WatchVideoResponse::kInitSegmentFieldNumber, "", 0, media_size)};
    }
    return {{.head = response.SerializeAsString()}};
  };
}

grpc::ByteBuffer ToByteBuffer(const std::shared_ptr<const Piece>& piece, size_t message) {
  // Slices of memory that the piece owns, each with a reference to it.
  const auto slice = [&piece](const char* data, size_t size) {
    return grpc::Slice(
        const_cast<char*>(data), size, [](void* held) { delete static_cast<std::shared_ptr<const Piece>*>(held); },
        new std::shared_ptr<const Piece>(piece));
  };
  const Message& out = piece->messages[message];
  const std::array<grpc::Slice, 2> slices = {slice(out.head.data(), out.head.size()),
                                             slice(piece->media.data() + out.media_begin, out.media_size)};
  return grpc::ByteBuffer(slices.data(), out.media_size > 0 ? 2 : 1);
}

std::optional<Position> ParseResumeToken(const std::string& name, const std::string& token) {
  const std::vector<std::string> parts = absl::StrSplit(token, '.');
  Position at;
  uint64_t message = 0;
  if (parts.size() != 3 || parts[0] != IdStart(name) || !absl::SimpleAtoi(parts[1], &at.piece) ||
      !absl::SimpleAtoi(parts[2], &message)) {
    return std::nullopt;
  }
  at.message = message;
  return at;
}

}  // namespace longtake::server
