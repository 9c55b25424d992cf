// What the client does with its output and its connection.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "clients/cli/connect.h"
#include "clients/cli/output.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longtake::client {
namespace {

TEST(Connect, KnowsThisMachine) {
  for (const char* server :
       {"127.0.0.1:50051", "127.8.8.8:1", "localhost:50051", "localhost", "[::1]:50051", "unix:/s"}) {
    EXPECT_TRUE(IsLoopback(server)) << server;
  }
  for (const char* server : {"10.0.0.1:50051", "localhost.example.com:1", "example.com:127", "[::12]:1", ""}) {
    EXPECT_FALSE(IsLoopback(server)) << server;
  }
}

TEST(Output, AFullDiskIsAnError) {
  Output output("/dev/full");
  output.Open();
  output.Write("bytes");
  EXPECT_THAT(output.error(), testing::HasSubstr("cannot write /dev/full: No space left"));
}

TEST(Output, ReplacesAFileAndNamesOneThatCannotBe) {
  const std::string path = absl::StrCat(testing::TempDir(), "/client_test_", getpid());
  for (const char* text : {"longer", "short"}) {
    Output output(path);
    output.Open();
    output.Write(text);
    output.Close();
    EXPECT_EQ(output.error(), "");
    std::ifstream file(path);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
  }
  std::remove(path.c_str());
  Output nowhere("/no/such/folder/a.mp4");
  nowhere.Open();
  EXPECT_THAT(nowhere.error(), testing::HasSubstr("/no/such/folder/a.mp4"));
}

}  // namespace
}  // namespace longtake::client
