// libav's errors end here: its return codes become statuses.
#ifndef LONGTAKE_SERVER_MEDIA_AV_STATUS_H_
#define LONGTAKE_SERVER_MEDIA_AV_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace longtake::media {

// `code` is a negative AVERROR; `what` names the call that returned it. Out of memory is ResourceExhausted, anything
// else Internal: no request can cause it.
absl::Status AvError(int code, absl::string_view what);

}  // namespace longtake::media

#endif  // LONGTAKE_SERVER_MEDIA_AV_STATUS_H_
