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
       {"127.0.0.1:50051", "127.8.8.8:1", "localhost:50051", "localhost", "[::1]:50051", "[::1]", "unix:/s"}) {
    EXPECT_TRUE(IsLoopback(server)) << server;
  }
  for (const char* server :
       {"10.0.0.1:50051", "localhost.example.com:1", "example.com:127", "[::12]:1", "[::1].example.com",
        "127.example.com:1", "127.0.0.1.example.com:1", "localhost@example.com:1", "128.0.0.1:127", ""}) {
    EXPECT_FALSE(IsLoopback(server)) << server;
  }
}

class TargetTest : public testing::Test {
 protected:
  void TearDown() override { std::remove(path.c_str()); }
  std::string Write(const std::string& text) const {
    std::ofstream(path) << text;
    return path;
  }
  static std::string ErrorOf(const ServerFlags& flags) { return std::string(ReadTarget(flags).status().message()); }
  const std::string path = absl::StrCat(testing::TempDir(), "/target_", getpid());
};

TEST_F(TargetTest, ATokenIsReadFromAFileBeforeTheEnvironment) {
  EXPECT_EQ(ReadTarget({.token = "from-env"})->token, "from-env");
  EXPECT_EQ(ReadTarget({.token_file = Write("from-file\n"), .token = "from-env"})->token, "from-file");
  EXPECT_THAT(ErrorOf({.token_file = "/no/such/file"}), testing::HasSubstr("--token-file: cannot read /no/such/file"));
  const std::string two_lines = ErrorOf({.token_file = Write("one\ntwo")});
  EXPECT_THAT(two_lines,
              testing::AllOf(testing::HasSubstr("control characters"), testing::Not(testing::HasSubstr("one"))));
}

TEST_F(TargetTest, ATokenGoesInPlainTextToThisMachineOnly) {
  for (const char* address : {"127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/s"}) {
    EXPECT_TRUE(ReadTarget({.address = address, .token = "secret"}).ok()) << address;
  }
  for (const char* address : {"example.com:1", "127.example.com:1", "10.0.0.1:1", "dns:///localhost:1", "[::]:1"}) {
    const std::string error = ErrorOf({.address = address, .token = "secret"});
    EXPECT_THAT(error, testing::AllOf(testing::HasSubstr(address), testing::HasSubstr("plain text"),
                                      testing::Not(testing::HasSubstr("secret"))));
    EXPECT_TRUE(ReadTarget({.address = address}).ok()) << address;  // without a token nothing is at stake
    EXPECT_TRUE(ReadTarget({.address = address, .ca = Write("pem"), .token = "secret"}).ok()) << address;
  }
}

TEST_F(TargetTest, ACertificateNeedsItsKeyAndAnAuthority) {
  const std::string pem = Write("pem");
  EXPECT_TRUE(ReadTarget({.ca = pem, .cert = pem, .key = pem}).ok());
  EXPECT_THAT(ErrorOf({.ca = pem, .cert = pem}), testing::HasSubstr("--cert and --key"));
  EXPECT_THAT(ErrorOf({.ca = pem, .key = pem}), testing::HasSubstr("--cert and --key"));
  EXPECT_THAT(ErrorOf({.cert = pem, .key = pem}), testing::HasSubstr("--cert: needs --ca"));
  EXPECT_THAT(ErrorOf({.ca = "/no/such/file"}), testing::HasSubstr("--ca: cannot read /no/such/file"));
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
