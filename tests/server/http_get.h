// One request over plain HTTP, as a kubelet or a scraper sends it.
#ifndef LONGTAKE_TESTS_SERVER_HTTP_GET_H_
#define LONGTAKE_TESTS_SERVER_HTTP_GET_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace longtake {

// A connection to 127.0.0.1; below 0: there is none.
inline int ConnectTo(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return connection;
  close(connection);
  return -1;
}

// The answer with its headers. `headers`: more lines of the request, each with its end.
inline std::string HttpGet(int port, const std::string& path, const std::string& headers = "") {
  const int connection = ConnectTo(port);
  EXPECT_GE(connection, 0);
  const std::string request = absl::StrCat("GET ", path, " HTTP/1.0\r\n", headers, "\r\n");
  EXPECT_EQ(send(connection, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t size = 0; (size = recv(connection, buffer.data(), buffer.size(), 0)) > 0;) {
    text.append(buffer.data(), size);
  }
  close(connection);
  return text;
}

}  // namespace longtake

#endif  // LONGTAKE_TESTS_SERVER_HTTP_GET_H_
