"""Examples at the end of each command's help; typer needs a blank line between them."""

RVQ = """rvq encode talk.wav                  writes talk.rvq beside it

rvq decode talk.rvq again.wav        and back

rvq encode *.flac -o coded/ -b 6     many files, 6 kbps nominal each

ffmpeg -i film.mp4 -f wav - | rvq encode - film.rvq"""
ENCODE = """rvq encode in.wav out.rvq

rvq encode a.wav b.flac -o coded/ --layers 24

rvq encode music -o coded -r --resume --report done.csv

rvq encode song.flac --bitrate 6 --effort best

arecord -f cd | rvq encode - - | ssh host 'cat > live.rvq'"""
DECODE = """rvq decode in.rvq out.flac

rvq decode *.rvq -o wavs/ --bits 24

rvq decode coded -o wavs -r

rvq decode long.rvq part.wav --start 1:23:45 --duration 10

curl -s https://example.org/talk.rvq | rvq decode - - | aplay"""
INFO = """rvq info talk.rvq

rvq info coded -r --json | jq .actual_kbps"""
VERIFY = """rvq verify *.rvq

rvq verify archive -r --deep -j 8 --report checked.csv

rvq verify a.rvq --deep --json | jq -r .codes_sha256"""
TRIM = """rvq trim in.rvq --layers 6 -o small.rvq

rvq trim coded -r --layers 4 -o preview --resume"""
TRANSCODE = """rvq transcode in.rvq -o out.rvq

rvq transcode in.rvq -o out.rvq --entropy static

rvq transcode archive -r -o smaller -j 8 --resume"""
EVAL = """rvq eval talk.wav talk.rvq

rvq eval talk.wav talk.opus"""
RECOVER = """rvq recover broken.rvq -o saved.rvq

rvq recover damaged -r -o saved --report losses.json"""
