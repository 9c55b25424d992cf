#include "server/media/av_status.h"

extern "C" {
#include <libavutil/error.h>
}

#include "absl/strings/str_cat.h"

namespace longtake::media {

absl::Status AvError(int code, absl::string_view what) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof(text));
  const std::string message = absl::StrCat(what, ": ", text);
  return code == AVERROR(ENOMEM) ? absl::ResourceExhaustedError(message) : absl::InternalError(message);
}

}  // namespace longtake::media
