#!/bin/sh
# Makes the demo's films: small, drawn by ffmpeg's own sources, so nothing here is anyone else's picture.
# Needs ffmpeg with libvpx-vp9 and drawtext. The made films are committed; run this only to change them.
#
# Why they are as they are:
# - every film is at least six minutes long, because titles under five have no resume point;
# - a key frame every two seconds and the cues at the front, so that resuming seeks at once;
# - the running time is in the picture, so that a person sees that playback went on where it stopped;
# - the credits are marked in the picture at the same time as `credits_ms` in films.json.
set -eu
cd "$(dirname "$0")"

FPS=5
SIZE=320x180

# film NAME SECONDS CREDITS_SECONDS CRF GRAPH -- GRAPH ends in a plain picture of $SIZE at $FPS
film() {
    name=$1 seconds=$2 credits=$3 crf=$4 graph=$5
    ffmpeg -hide_banner -loglevel error -y -filter_complex "
        $graph,format=yuv420p,
        drawtext=font=DejaVu Sans Mono:text='%{pts\\:hms}':x=12:y=h-30:fontsize=15:fontcolor=white@0.92:box=1:boxcolor=black@0.45:boxborderw=5,
        drawtext=font=DejaVu Sans:text='The End':x=(w-tw)/2:y=(h-th)/2-8:fontsize=30:fontcolor=white:box=1:boxcolor=black@0.45:boxborderw=12:enable='gte(t,$credits)'
        [out]" -map '[out]' -t "$seconds" -r $FPS \
        -c:v libvpx-vp9 -crf "$crf" -b:v 0 -deadline good -cpu-used 5 -row-mt 1 -g $((FPS * 2)) -keyint_min $((FPS * 2)) \
        -auto-alt-ref 0 -lag-in-frames 0 -pix_fmt yuv420p -fflags +bitexact -flags +bitexact -map_metadata -1 \
        -cues_to_front 1 "$name.webm"
    ls -l "$name.webm" | awk '{ print $5, $9 }'
}

# Slow bands of evening light.
film long-dusk 600 570 56 "gradients=s=$SIZE:r=$FPS:speed=0.004:n=4:seed=7:x0=0:y0=0:x1=40:y1=180:c0=#2b1b4d:c1=#c8452f:c2=#f2a65a:c3=#1b2a4d"

# Into the fractal; the small picture, enlarged, keeps the edges soft and the file small.
film spiral-coast 420 396 58 "mandelbrot=s=160x90:r=$FPS:end_pts=2100:start_scale=2.2:end_scale=0.012:maxiter=220:inner=black:outer=normalized_iteration_count,gblur=sigma=1.6,hue=h=150:s=0.6,scale=320:180:flags=bicubic"

# Conway's game, one generation a second, the dead fading out.
film small-lives 360 342 56 "life=s=32x18:r=1:mold=20:random_fill_ratio=0.24:random_seed=11:life_color=#9be8a8:death_color=#0d2a24:mold_color=#10443a,fps=$FPS,scale=320:180:flags=neighbor"

# An elementary automaton, raining upwards; cells of 16 pixels, as the codec's blocks are.
film rule-thirty 390 369 56 "cellauto=s=20x12:r=1/2:rule=30:random_seed=5:random_fill_ratio=0.3:scroll=1,fps=$FPS,scale=320:192:flags=neighbor,crop=320:180:0:0,format=rgb24,lutrgb=r='if(gt(val,127),244,38)':g='if(gt(val,127),190,22)':b='if(gt(val,127),92,46)'"

# A ferry's light crosses the bay and comes back: episode one sails out, episode two comes home.
# The bay is drawn once and repeated: it does not move, and drawing it for each frame takes minutes.
MOON="lt(hypot(X-244,Y-38),15)"
GLOW="70*exp(-hypot(X-244,Y-38)/34)"
PATH_OF_LIGHT="if(gt(Y,112),60*exp(-abs(X-244)/(6+(Y-112)/3))*(0.55+0.45*sin(Y*1.9)),0)"
ferry() {
    echo "color=black:s=$SIZE:r=$FPS,format=rgb24,trim=end_frame=1,
        geq=r='if($MOON,238,if(gt(Y,112),12,10+Y/9)+$GLOW+$PATH_OF_LIGHT)':g='if($MOON,230,if(gt(Y,112),32,20+Y/5)+$GLOW+$PATH_OF_LIGHT)':b='if($MOON,205,if(gt(Y,112),62,48+Y/3)+$GLOW*0.8+$PATH_OF_LIGHT*0.8)',
        loop=loop=-1:size=1,fps=$FPS,setpts=N/($FPS*TB)[sky];
        color=#ffc36b:s=14x4:r=$FPS[lamp];color=#8a6a3a:s=6x18:r=$FPS[glow];
        [sky][lamp]overlay=x='$1':y='107+2*sin(t)'[a];[a][glow]overlay=x='$1+4':y='114+2*sin(t)'"
}
film night-ferry-1 360 342 54 "$(ferry 't/360*330-10')"
film night-ferry-2 360 342 54 "$(ferry '320-t/360*330')"
