#!/bin/sh
# Fetch what the feature network is trained on into a folder: sh examples/features/fetch.sh FOLDER
# Needs Debian's apt-get and dpkg, and npm. Some 400 MB; docs/features.md lists licences.
set -eu
mkdir -p "$1/google" "$1/twitter"
cd "$1"
apt-get download dataset-fashion-mnist lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds \
  plasma-workspace-wallpapers
for package in *.deb; do dpkg -x "$package" .; done
for style in google twitter; do
  npm pack "emoji-datasource-$style@16.0.0"
  tar -xzf "emoji-datasource-$style-16.0.0.tgz" -C "$style" --strip-components=1
done
