// The page that the HTTP port shows: the files of page/, put into the program by the build.
#ifndef LONGTAKE_SERVER_HTTP_PAGE_H_
#define LONGTAKE_SERVER_HTTP_PAGE_H_

#include <string_view>

namespace longtake::server {

// The text of "index.html" and of what it names; empty: there is no such file.
std::string_view PageFile(std::string_view name);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_HTTP_PAGE_H_
