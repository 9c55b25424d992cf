// Whose a video is.
#ifndef LONGTAKE_SERVER_VIDEO_TENANT_H_
#define LONGTAKE_SERVER_VIDEO_TENANT_H_

#include <compare>
#include <string>

namespace longtake::server {

// A type of its own, because videos' names and request ids stand beside it in arguments. The empty id is the tenant of
// all callers of a server that does not ask them who they are.
struct Tenant {
  std::string id;
  friend auto operator<=>(const Tenant&, const Tenant&) = default;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_TENANT_H_
