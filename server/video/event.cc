#include "server/video/event.h"

namespace longtake::server {

Stages& Stages::operator+=(const Stages& other) {
  text += other.text;
  denoise += other.denoise;
  commit += other.commit;
  decode += other.decode;
  encode += other.encode;
  return *this;
}

}  // namespace longtake::server
