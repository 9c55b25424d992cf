// The server's options: where they come from, what is said of wrong ones, and their table in docs/operations.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/settings.h"

namespace longtake::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

constexpr char kModel[] = "models/longtake-tiny";

struct Read {
  std::variant<Settings, int> settings = 0;
  std::string out, err;

  // The status to end with; -1: it goes on.
  int status() const { return std::holds_alternative<int>(settings) ? std::get<int>(settings) : -1; }
};

class OptionsTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name) << text;
    return folder / name;
  }
  static Read Say(std::vector<std::string> arguments) {
    std::vector<const char*> argv = {"longtake-server"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    std::ostringstream out, err;
    Read read;
    read.settings = ReadSettings(static_cast<int>(argv.size()), argv.data(), {}, out, err);
    read.out = out.str();
    read.err = err.str();
    return read;
  }

  const fs::path folder = fs::path(testing::TempDir()) / absl::StrCat("options_test_", getpid());
};

// Name to default, of what --print-config says and of the documentation's table.
std::map<std::string, std::string> Printed(const std::string& text) {
  std::map<std::string, std::string> defaults;
  std::string of;
  for (std::string line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "# Default: ")) {
      of = std::string(absl::StripSuffix(rest, "."));
    } else if (const size_t equals = line.find('='); equals != std::string::npos && !absl::StartsWith(line, "# ")) {
      defaults[std::string(absl::StripPrefix(line.substr(0, equals), "#"))] = of;
    }
  }
  return defaults;
}

std::map<std::string, std::string> Documented() {
  std::map<std::string, std::string> defaults;
  std::ifstream file("docs/operations.md");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() != 5 || !absl::StartsWith(cells[1], " `--")) continue;
    const auto bare = [](absl::string_view cell) {
      cell = absl::StripAsciiWhitespace(cell);
      return absl::StripSuffix(absl::StripPrefix(cell, "`"), "`");
    };
    EXPECT_GT(bare(cells[3]).size(), 8u) << cells[1] << ": no reason";
    const std::string name(absl::StripPrefix(bare(cells[1]), "--"));
    EXPECT_TRUE(defaults.emplace(name, bare(cells[2])).second) << name << " is there twice";
  }
  return defaults;
}

TEST_F(OptionsTest, AreThoseOfTheTable) {
  std::map<std::string, std::string> printed = Printed(Say({"--print-config"}).out);
  EXPECT_GT(printed.size(), 40u);
  for (auto& [name, value] : printed) {  // text without its quotes
    if (value.size() > 1 && value.front() == '"') value = value.substr(1, value.size() - 2);
  }
  EXPECT_EQ(Documented(), printed);
}

TEST_F(OptionsTest, EachSaysWhereItComesFrom) {
  const std::string file = Write("server.toml",
                                 "# Comment\nmax-sessions = 3\nlead-seconds = 12.5\ndevices = [0, 1]\n"
                                 "cuda-graphs = true\nstore = \"/a folder, or two\"\nhttp-page = false\n");
  const Read read = Say({"--config", file, "--lead-seconds", "20", "--no-http-page", "--print-config"});
  EXPECT_EQ(read.status(), 0) << read.err;
  EXPECT_THAT(read.out, HasSubstr(absl::StrCat("# Default: 4. Set by ", file, ".\nmax-sessions=3\n")));
  EXPECT_THAT(read.out, HasSubstr("# Default: 30. Set by the command line.\nlead-seconds=20\n")) << "it comes first";
  EXPECT_THAT(read.out, HasSubstr("# Default: 16.\nmax-waiting=16\n"));
  EXPECT_THAT(read.out, HasSubstr("# Default: none.\n#live-places=\n"));
  EXPECT_THAT(read.out, HasSubstr("\ndevices=[0, 1]\n"));
  EXPECT_THAT(read.out, HasSubstr("\nhttp-page=false\n"));
  EXPECT_THAT(read.out, HasSubstr("\nstore=\"/a folder, or two\"\n"));
  EXPECT_THAT(read.out, AllOf(Not(HasSubstr("print-config")), Not(HasSubstr("version"))));
}

TEST_F(OptionsTest, WhatIsPrintedIsReadBack) {
  const Read first = Say({"--model", kModel, "--max-sessions", "3", "--store", "/a folder, or two", "--devices", "2,3",
                          "--cuda-graphs", "--no-http-page", "--live-places", "1", "--print-config"});
  const std::string file = Write("server.toml", first.out);
  const Read again = Say({"--config", file, "--print-config"});
  EXPECT_EQ(again.status(), 0) << again.err;
  // Everything is set by the file now; the values are the same.
  const auto values = [](const std::string& text) {
    std::vector<std::string> lines;
    for (std::string line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
      if (!absl::StartsWith(line, "# ")) lines.push_back(line);
    }
    return lines;
  };
  EXPECT_EQ(values(again.out), values(first.out));
  const Read read = Say({"--config", file});
  ASSERT_EQ(read.status(), -1) << read.err;
  const auto& settings = std::get<Settings>(read.settings);
  EXPECT_EQ(settings.server.studio.max_sessions, 3);
  EXPECT_EQ(settings.server.studio.live_places, 1);
  EXPECT_EQ(settings.server.store, "/a folder, or two");
  EXPECT_EQ(settings.engine.devices, (std::vector<int>{2, 3}));
  EXPECT_TRUE(settings.engine.cuda_graphs);
  EXPECT_FALSE(settings.server.http_page);
  EXPECT_TRUE(settings.server.http_listen.empty());
}

TEST_F(OptionsTest, WrongKeysAreNamedAllAtOnce) {
  const std::string file = Write("server.toml",
                                 "max-sesions = 3\nxyzzy-plugh = 1\nlead-seconds = 5\nstore = \"a\"\n"
                                 "lead-seconds = 6\nprint-config = true\npeer-ca = \"/a#b\" # c\notlp-endpoint = "
                                 "\"http://a\" # c\n[server]\nthreads = 1\n");
  const Read read = Say({"--config", file, "--model", kModel});
  EXPECT_GT(read.status(), 0);
  EXPECT_THAT(read.err, HasSubstr(file));
  EXPECT_THAT(read.err, HasSubstr("max-sesions: is no option of a file; max-sessions is the nearest\n"));
  EXPECT_THAT(read.err, HasSubstr("xyzzy-plugh: is no option of a file\n"));
  EXPECT_THAT(read.err, HasSubstr("lead-seconds: is there twice\n"));
  EXPECT_THAT(read.err, HasSubstr("peer-ca: its quotes do not end; a # begins a comment"));
  EXPECT_THAT(read.err, Not(HasSubstr("otlp-endpoint")));
  EXPECT_THAT(read.err, HasSubstr("print-config: is no option of a file\n")) << "itself is no help";
  EXPECT_THAT(read.err, HasSubstr("[server]: has no sections"));
}

TEST_F(OptionsTest, WrongFlagsAndValuesAreNamed) {
  const Read misspelt = Say({"--model", kModel, "--max-sesions", "3", "--stor=a"});
  EXPECT_GT(misspelt.status(), 0);
  EXPECT_THAT(misspelt.err, HasSubstr("--max-sesions: --max-sessions is the nearest option"));
  EXPECT_THAT(misspelt.err, HasSubstr("--stor: --store is the nearest option"));
  for (const auto& [option, value] : {std::pair{"--max-sessions", "0"},
                                      {"--dtype", "float64"},
                                      {"--backend", "tpu"},
                                      {"--log-level", "loud"},
                                      {"--config", "none.toml"}}) {
    const Read read = Say({"--model", kModel, option, value});
    EXPECT_GT(read.status(), 0) << option;
    EXPECT_THAT(read.err, testing::AnyOf(HasSubstr(option), HasSubstr(value)));
  }
  const Read none = Say({"--check-config"});
  EXPECT_GT(none.status(), 0);
  EXPECT_THAT(none.err, HasSubstr("--model"));
}

TEST_F(OptionsTest, FilesThatAreWrongAreNamedAllAtOnce) {
  EXPECT_EQ(Say({"--model", kModel, "--check-config"}).status(), 0);
  const fs::path store = folder / "store";
  const Read right = Say({"--model", kModel, "--store", store, "--quotas", Write("quotas", R"({"a": {"watches": 1}})"),
                          "--tokens", Write("tokens", "# none\n"), "--http-listen", "[::1]:0", "--check-config"});
  EXPECT_EQ(right.status(), 0) << right.err;
  EXPECT_FALSE(fs::exists(store)) << "a check has made it";

  const Read read = Say({"--model",        folder / "absent",
                         "--store",        folder / "no" / "such",
                         "--tokens",       Write("sums", "acme alice secret-of-alice\n"),
                         "--jwks",         folder / "keys",
                         "--jwt-issuer",   "issuer",
                         "--jwt-audience", "us",
                         "--quotas",       Write("limits", "{\"acme\": {\"watchers\": 1}}"),
                         "--tls-cert",     folder / "cert.pem",
                         "--tls-key",      folder / "key.pem",
                         "--listen",       "nowhere",
                         "--link-keys",    Write("links", "0102\n"),
                         "--policy-rules", Write("rules", "[]"),
                         "--registry",     "redis:nowhere",
                         "--check-config"});
  EXPECT_EQ(read.status(), 1);
  const std::vector<std::string> lines = absl::StrSplit(read.err, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), 10u) << read.err;
  for (const std::string& begin :
       std::vector<std::string>{"model: ", "store: ", "tokens: ", "jwks: ", "quotas: ", "tls-cert: ", "listen: ",
                                "registry: ", (folder / "links").string(), (folder / "rules").string()}) {
    EXPECT_THAT(lines, testing::Contains(testing::StartsWith(begin)));
  }
  EXPECT_THAT(read.err, HasSubstr("watchers"));
  EXPECT_THAT(read.err, Not(HasSubstr("secret-of-alice")));
  EXPECT_THAT(Say({"--model", kModel, "--tls-cert", "a", "--check-config"}).err, HasSubstr("tls-key: is missing"));
  EXPECT_THAT(Say({"--model", kModel, "--jwt-issuer", "a", "--check-config"}).err, HasSubstr("jwks: is missing"));
  EXPECT_THAT(Say({"--model", kModel, "--link-keys", "a", "--check-config"}).err, HasSubstr("link-keys: needs tokens"));
  EXPECT_THAT(Say({"--model", kModel, "--registry", "redis://a", "--check-config"}).err, HasSubstr("registry: "));
  EXPECT_THAT(Say({"--model", kModel, "--peer-ca", folder / "none", "--check-config"}).err, HasSubstr("peer-ca: "));
  EXPECT_THAT(Say({"--model", kModel, "--peer-name", "a", "--check-config"}).err, HasSubstr("peer-ca: is missing"));
  EXPECT_THAT(Say({"--model", folder, "--check-config"}).err, HasSubstr("transformer/config.json"));
  EXPECT_THAT(Say({"--model", kModel, "--store", Write("file", ""), "--check-config"}).err, HasSubstr("store: "));
}

}  // namespace
}  // namespace longtake::server
