// longtake: the command line client.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>

#include "clients/cli/commands.h"
#include "clients/cli/connect.h"
#include "clients/cli/request.h"
#include "clients/cli/top/top.h"
#include "common/build_info.h"

namespace {

// What a video of any kind is asked for with.
void AddDelivery(CLI::App& command, longtake::client::GenerateFlags& flags) {
  command
      .add_option("--then", flags.then, "SECONDS:PROMPT: what it shows from the first block at or after that; repeat")
      ->allow_extra_args(false);
  command.add_flag("--offline", flags.offline, "Need not be made in real time");
  command.add_flag("--adaptive", flags.adaptive, "Fewer steps a block, or the tiny decoder, rather than late chunks");
  command.add_option("--priority", flags.priority, "Among offline videos; higher goes first");
  command.add_option("--max-lead", flags.max_lead, "Seconds that the video may be made ahead of its viewer at most");
  command.add_option("--max-wait", flags.max_wait, "Seconds to wait for a place at most");
}

void AddRequest(CLI::App& command, longtake::client::GenerateFlags& flags) {
  command.add_option("--seconds", flags.seconds, "Length of the video")->capture_default_str();
  command.add_option("--seed", flags.seed, "Same seed, same video; without it, or with -1, the server chooses");
  command.add_option("--size", flags.size, "WIDTHxHEIGHT, one of the model's sizes");
  command.add_option("--negative-prompt", flags.negative_prompt, "What the video should not show");
  command.add_option("--adapter", flags.adapters, "NAME or NAME=STRENGTH of an adapter of the model; several add up");
  command.add_option("--image,--first-image", flags.first_image,
                     "PNG, JPEG or WebP of the first frame; models say whether they take one");
  command.add_option("--decoder", flags.decoder, "full, or tiny: pictures in less time, with less detail")
      ->check(CLI::IsMember({"full", "tiny"}))
      ->capture_default_str();
  AddDelivery(command, flags);
}

void AddOutput(CLI::App& command, longtake::client::OutputFlags& flags) {
  command.add_option("--output,-o", flags.output, "MP4 file to write; -: standard output")->required();
  command.add_flag("--json", flags.json, "Print a summary of all measured times as one line of JSON");
  command.add_flag("--quiet,-q", flags.quiet, "No progress");
}

// Of every command.
void AddServer(CLI::App& command, longtake::client::ServerFlags& flags) {
  command.add_option("--server", flags.address, "Address of the server")->capture_default_str();
  command.add_option(
      "--token-file", flags.token_file,
      "File of the token to show; else that of LONGTAKE_TOKEN. No flag takes the token itself, since every "
      "user of a machine can read command lines");
  command.add_option(
      "--ca", flags.ca,
      "Authorities that the server's certificate must be of, PEM; without it the connection is plain text, "
      "on which a token goes to this machine only");
  command.add_option("--cert", flags.cert, "Certificate to show, PEM");
  command.add_option("--key", flags.key, "Its key");
}

// A command about one video.
CLI::App* AddVideo(CLI::App& app, const char* name, const char* help, longtake::client::VideoFlags& flags) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("video", flags.video, "The video's name, as generate and list say")->required();
  command->add_flag("--json", flags.json, "Print JSON");
  return command;
}

CLI::App* AddWatch(CLI::App& app, longtake::client::WatchFlags& flags) {
  CLI::App* watch =
      app.add_subcommand("watch", "Write a video that there is to a file, while it is made or afterwards");
  watch->add_option("video", flags.video, "The video's name, as generate and list say")->required();
  CLI::Option* from = watch->add_option("--from-block", flags.from_block, "From this block on")->capture_default_str();
  watch->add_flag("--live", flags.live, "From the newest block on")->excludes(from);
  watch->add_flag("--no-follow", flags.no_follow, "End with what is there now");
  AddOutput(*watch, flags.output);
  return watch;
}

CLI::App* AddFork(CLI::App& app, longtake::client::ForkFlags& flags) {
  CLI::App* fork = app.add_subcommand("fork", "Make a video that is another one up to a block and then goes elsewhere");
  fork->add_option("video", flags.video, "The other video's name, as generate and list say")->required();
  fork->add_option("prompt", flags.request.prompt, "What it shows from there on")->required();
  fork->add_option("--from-block", flags.from_block, "The first block that differs, from 1")->required();
  fork->add_option("--seconds", flags.seconds, "Length of the new video; without it that of the other one");
  fork->add_flag("--keep", flags.request.keep, "Make it to its end even when this client goes");
  AddOutput(*fork, flags.request.output);
  AddDelivery(*fork, flags.request);
  return fork;
}

CLI::App* AddLoadtest(CLI::App& app, longtake::client::LoadtestFlags& flags) {
  CLI::App* load = app.add_subcommand("loadtest", "Let simulated viewers come, and say what they see");
  CLI::Option* viewers = load->add_option("--viewers", flags.viewers, "So many at the same time, all the time");
  CLI::Option* rate = load->add_option("--rate", flags.rate, "Or so many arrivals a second, whatever the server does");
  viewers->check(CLI::Range(1, 10'000))->excludes(rate);
  rate->check(CLI::PositiveNumber);
  load->add_option("--duration", flags.duration, "Seconds in which viewers come")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  load->add_option("--warm", flags.warm, "Seconds at the beginning that rates do not count")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  load->add_option("--shortest", flags.mix.shortest, "Shortest video, in seconds")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  load->add_option("--longest", flags.mix.longest, "Longest video; lengths are log-uniform")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  load->add_option("--sizes", flags.mix.sizes, "WIDTHxHEIGHT,... drawn evenly; none: the model's default")
      ->delimiter(',');
  load->add_option("--offline", flags.mix.offline, "Share of requests that nobody watches")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  load->add_option("--impatient", flags.mix.impatient, "Share of viewers that leave without a first chunk")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  load->add_option("--patience", flags.mix.patience, "After so many seconds; the others after 60")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  load->add_option("--slow", flags.mix.slow, "Share of viewers that take half a chunk's duration to read it")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  load->add_option("--seed", flags.seed, "Same seed, same viewers")->capture_default_str();
  load->add_option("--json", flags.json, "File for all that was measured; python -m bench.plot_loadtest draws it");
  load->add_flag("--quiet,-q", flags.quiet, "No progress");
  return load;
}

CLI::App* AddTop(CLI::App& app, longtake::client::TopFlags& flags) {
  CLI::App* top = app.add_subcommand("top", "Show what a server does, again each second: lanes, queue, quotas, videos");
  top->add_option("--metrics", flags.metrics, "Address of the server's --metrics-listen")->capture_default_str();
  top->add_option("--token-file", flags.token_file,
                  "File of the token of an operator to show, where the server asks who is calling; else that of "
                  "LONGTAKE_TOKEN");
  top->add_option("--interval", flags.interval, "Seconds between two views")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  top->add_flag("--once", flags.once, "One view of one interval");
  return top;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Makes videos from prompts on a longtake-server.", "longtake");
  app.set_version_flag("--version", longtake::VersionLine(app.get_name(), longtake::GetBuildInfo()));
  app.require_subcommand(1);

  longtake::client::GenerateFlags generate;
  CLI::App* make = app.add_subcommand("generate", "Make a video and write it to a file while it arrives");
  make->add_option("prompt", generate.prompt, "What the video shows")->required();
  AddOutput(*make, generate.output);
  AddRequest(*make, generate);
  make->add_flag("--keep", generate.keep, "Make it to its end even when this client goes: it can be watched again");

  longtake::client::GenerateFlags quoted;
  CLI::App* quote = app.add_subcommand("quote", "Ask when a video's first and last chunk would come");
  AddRequest(*quote, quoted);
  quote->add_flag("--json", quoted.output.json, "Print JSON");

  longtake::client::PromptFlags change;
  CLI::App* prompt = app.add_subcommand("prompt", "Change what a video shows while it is made");
  prompt->add_option("video", change.video, "The video's name, as generate says")->required();
  prompt->add_option("prompt", change.prompt, "What it shows from there on")->required();
  prompt->add_option("--at", change.at, "From the first block at or after so many seconds; 0: the next block")
      ->capture_default_str();

  longtake::client::ModelsFlags models;
  CLI::App* list = app.add_subcommand("models", "List what the server can make");
  list->add_option("--wait", models.wait_seconds, "Seconds to wait for a server that is not ready yet")
      ->capture_default_str();
  list->add_flag("--json", models.json, "Print JSON");

  longtake::client::WatchFlags watched;
  const CLI::App* watch = AddWatch(app, watched);
  longtake::client::ForkFlags forked;
  const CLI::App* fork = AddFork(app, forked);
  longtake::client::VideosFlags listed;
  CLI::App* videos = app.add_subcommand("list", "List the server's videos, the newest first");
  videos->add_flag("--json", listed.json, "Print JSON, a line for each");
  longtake::client::VideoFlags got, cancelled, deleted;
  const CLI::App* get = AddVideo(app, "get", "Show where a video stands", got);
  const CLI::App* cancel = AddVideo(app, "cancel", "End a video; what was made can still be watched", cancelled);
  const CLI::App* remove = AddVideo(app, "delete", "End a video and forget it", deleted);

  longtake::client::LinkFlags linked;
  CLI::App* link = app.add_subcommand("link", "Make a link by which anybody may watch a video over HTTP for a while");
  link->add_option("video", linked.video, "The video's name, as generate and list say")->required();
  link->add_option("--for", linked.duration,
                   "How long it holds, as in 90s, 30m or 1h; without it a day, if the server permits");
  link->add_option("--base-url", linked.base_url, "Where viewers reach the HTTP port, as in https://video.example");
  link->add_flag("--json", linked.json, "Print JSON");

  longtake::client::LoadtestFlags loadtest;
  const CLI::App* load = AddLoadtest(app, loadtest);

  longtake::client::ServerFlags server;
  // All but top, which asks another port.
  for (CLI::App* command : app.get_subcommands({})) AddServer(*command, server);

  longtake::client::TopFlags shown;
  const CLI::App* top = AddTop(app, shown);

  CLI11_PARSE(app, argc, argv);
  if (const char* token = std::getenv("LONGTAKE_TOKEN"); token != nullptr) server.token = shown.token = token;
  if (*top) return longtake::client::Top(shown);
  const absl::StatusOr<longtake::client::Target> target = longtake::client::ReadTarget(server);
  if (!target.ok()) return longtake::client::Complain(std::string(target.status().message()));
  generate.server = quoted.server = change.server = models.server = watched.server = forked.request.server = *target;
  listed.server = got.server = cancelled.server = deleted.server = linked.server = *target;
  loadtest.server = *target;
  if (*make) return longtake::client::Generate(generate);
  if (*quote) return longtake::client::Quote(quoted);
  if (*prompt) return longtake::client::ChangePrompt(change);
  if (*watch) return longtake::client::Watch(watched);
  if (*fork) return longtake::client::Fork(forked);
  if (*videos) return longtake::client::List(listed);
  if (*get) return longtake::client::Get(got);
  if (*cancel) return longtake::client::Cancel(cancelled);
  if (*remove) return longtake::client::Delete(deleted);
  if (*link) return longtake::client::Link(linked);
  return *load ? longtake::client::Loadtest(loadtest) : longtake::client::Models(models);
}
