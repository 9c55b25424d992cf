// The page that the HTTP port shows, and its parts; they are files in page/, put into the program by the build.
#ifndef LONGTAKE_SERVER_HTTP_PAGE_H_
#define LONGTAKE_SERVER_HTTP_PAGE_H_

#include <string_view>

namespace longtake::server {

extern const std::string_view kIndexHtml, kAppJs, kStyleCss;

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_PAGE_H_
