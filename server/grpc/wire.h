// A video's log on the wire: WatchVideoResponse messages, serialised once for all viewers.
#ifndef LONGTAKE_SERVER_GRPC_WIRE_H_
#define LONGTAKE_SERVER_GRPC_WIRE_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "server/video/chunk_log.h"

namespace longtake::server {

// Of the log of the video `name`. `max_part_bytes`: of a chunk's media in one message.
ChunkLog::Serializer WireSerializer(const std::string& name, size_t max_part_bytes);

// A message of the piece. Its media is not copied: the buffer holds the piece.
grpc::ByteBuffer ToByteBuffer(const std::shared_ptr<const Piece>& piece, size_t message);

// The position that a resume token of this video stands for; nothing where it is none.
std::optional<Position> ParseResumeToken(const std::string& name, const std::string& token);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_WIRE_H_
