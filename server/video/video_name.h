// Names of videos.
#ifndef LONGTAKE_SERVER_VIDEO_VIDEO_NAME_H_
#define LONGTAKE_SERVER_VIDEO_VIDEO_NAME_H_

#include <string>

#include "absl/strings/string_view.h"

namespace longtake::server {

// "videos/" and 128 bits of the operating system's random numbers as 32 hexadecimal digits: nobody guesses one, and no
// two servers choose the same.
std::string NewVideoName();
// Whether the text has this form.
bool IsVideoName(absl::string_view text);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_VIDEO_NAME_H_
