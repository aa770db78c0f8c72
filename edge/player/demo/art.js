/** Posters, drawn: each film its own picture, in its own three colours, without a single image file. */

const WIDTH = 200;
const HEIGHT = 300;

/** The poster of `film` as SVG markup; `lettering` adds the title as posters have it. */
export function poster(film, { lettering = true } = {}) {
  const id = `art-${film.id}-${(serial += 1)}`; // gradients are named, and a film may be on the page more than once
  const [dark, middle, light] = film.colours;
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="xMidYMid slice" aria-hidden="true" focusable="false">
    <defs>
      <linearGradient id="${id}-sky" x1="0" y1="0" x2="0" y2="1">
        <stop offset="0" stop-color="${dark}"/><stop offset="0.62" stop-color="${middle}"/><stop offset="1" stop-color="${light}"/>
      </linearGradient>
      <linearGradient id="${id}-fade" x1="0" y1="0" x2="0" y2="1">
        <stop offset="0" stop-color="${dark}" stop-opacity="0"/><stop offset="1" stop-color="${dark}" stop-opacity="0.92"/>
      </linearGradient>
      <radialGradient id="${id}-glow"><stop offset="0" stop-color="${light}" stop-opacity="0.7"/><stop offset="1" stop-color="${light}" stop-opacity="0"/></radialGradient>
    </defs>
    <rect width="${WIDTH}" height="${HEIGHT}" fill="${dark}"/>
    ${pictures[film.art](film.colours, id)}
    ${lettering ? letters(film, id) : ''}
  </svg>`;
}

let serial = 0;

function letters(film, id) {
  const words = film.title.toUpperCase().split(' ');
  // One word a line, but a short one stays with the next: "THE LONG / DUSK".
  const lines = words.reduce((lines, word) => {
    const last = lines.at(-1);
    if (last && last.length <= 3) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
    return lines;
  }, []);
  const size = Math.min(31, 225 / Math.max(...lines.map((line) => line.length)));
  const top = 276 - lines.length * size * 1.02;
  const over = film.series ? `${film.series.title} · ${film.series.episode}` : String(film.year);
  return `<rect y="150" width="${WIDTH}" height="150" fill="url(#${id}-fade)"/>
    <text x="16" y="${top}" font-size="8.5" letter-spacing="1.6" fill="#fff" fill-opacity="0.75" font-family="system-ui, sans-serif">${over.toUpperCase()}</text>
    ${lines
      .map(
        (line, i) =>
          `<text x="15" y="${top + size * 1.02 * (i + 1)}" font-size="${size}" font-weight="700" letter-spacing="-0.4" fill="#fff" font-family="ui-serif, Georgia, 'Times New Roman', serif">${line}</text>`,
      )
      .join('')}`;
}

const pictures = {
  /** A sun that will not quite set, behind four ranges of hills. */
  dusk([dark, middle, light], id) {
    const hills = [0, 1, 2, 3].map((row) => {
      const base = 168 + row * 30;
      const points = Array.from({ length: 21 }, (_, i) => {
        const x = i * 10;
        return `${x},${base - 13 * Math.sin(i / (2.1 + row * 0.6) + row * 1.9) - 6 * Math.sin(i / 1.1 + row)}`;
      });
      return `<polygon points="0,300 ${points.join(' ')} 200,300" fill="${dark}" fill-opacity="${0.3 + row * 0.2}"/>`;
    });
    return `<rect width="200" height="300" fill="url(#${id}-sky)"/>
      <circle cx="128" cy="142" r="110" fill="url(#${id}-glow)"/>
      <circle cx="128" cy="142" r="40" fill="${light}"/>
      ${[0, 1, 2, 3].map((i) => `<rect x="80" y="${146 + i * 9}" width="96" height="${1.5 + i}" fill="${middle}"/>`).join('')}
      ${hills.join('')}`;
  },

  /** Seeds of a sunflower: the golden angle, again and again. */
  spiral([dark, middle, light]) {
    const seeds = Array.from({ length: 320 }, (_, i) => {
      const angle = i * 2.399963;
      const far = 8.2 * Math.sqrt(i);
      const size = 0.9 + far / 34;
      const colour = i % 8 < 3 ? light : middle;
      return `<circle cx="${(104 + far * Math.cos(angle)).toFixed(1)}" cy="${(128 + far * Math.sin(angle)).toFixed(1)}" r="${size.toFixed(2)}" fill="${colour}" fill-opacity="${(0.35 + 0.65 * (1 - far / 160)).toFixed(2)}"/>`;
    });
    return (
      seeds.join('') +
      `<circle cx="104" cy="128" r="5" fill="${dark}"/><circle cx="104" cy="128" r="2.5" fill="${light}"/>`
    );
  },

  /** Conway's glider, and those that it will meet. */
  cells([, middle, light]) {
    const alive = new Set('4,2 5,3 3,4 4,4 5,4 8,6 9,6 8,7 9,7 2,9 3,9 4,9 7,10 7,11 7,12 9,1 1,6 6,8'.split(' '));
    let cells = '';
    for (let y = 0; y < 16; y++)
      for (let x = 0; x < 11; x++) {
        const on = alive.has(`${x},${y}`);
        const faint = 0.1 + 0.16 * Math.abs(Math.sin(x * 12.9 + y * 78.2));
        cells += `<rect x="${x * 19 - 4}" y="${y * 19 - 2}" width="16" height="16" rx="3.5" fill="${on ? light : middle}" fill-opacity="${on ? 1 : faint.toFixed(2)}"/>`;
      }
    return cells;
  },

  /** Rule 30, computed: each cell is its left neighbour, or else exactly one of itself and its right one. */
  rain([, middle, light]) {
    const across = 51;
    let row = Array.from({ length: across }, (_, i) => (i === (across - 1) / 2 ? 1 : 0));
    let cells = '';
    for (let y = 0; y < 62; y++) {
      row.forEach((on, x) => {
        if (on)
          cells += `<rect x="${(x - 0.5) * 4}" y="${10 + y * 4}" width="3.3" height="3.3" rx="0.8" fill="${(x * 7 + y * 3) % 11 < 2 ? light : middle}" fill-opacity="${(1 - y / 90).toFixed(2)}"/>`;
      });
      row = row.map((cell, x) => (row[x - 1] ?? 0) ^ (cell | (row[x + 1] ?? 0)));
    }
    return `<circle cx="100" cy="14" r="6" fill="${light}"/>${cells}`;
  },

  'ferry-out': (colours, id) => ferry(colours, id, { moon: 146, boat: 46, heading: 1 }),
  'ferry-home': (colours, id) => ferry(colours, id, { moon: 52, boat: 118, heading: -1 }),
};

function ferry([dark, middle, light], id, { moon, boat, heading }) {
  const streaks = Array.from({ length: 17 }, (_, i) => {
    const wide = 10 + i * 3.4 + 9 * Math.sin(i * 2.3);
    return `<rect x="${moon - wide / 2}" y="${158 + i * 7}" width="${wide}" height="${1.4 + i * 0.12}" rx="1" fill="${light}" fill-opacity="${0.62 - i * 0.032}"/>`;
  });
  const stars = Array.from(
    { length: 26 },
    (_, i) =>
      `<circle cx="${(i * 67) % 197}" cy="${(i * 41) % 132}" r="${0.5 + (i % 3) * 0.3}" fill="#fff" fill-opacity="0.5"/>`,
  );
  return `<rect width="200" height="152" fill="url(#${id}-sky)" fill-opacity="0.55"/>${stars.join('')}
    <circle cx="${moon}" cy="84" r="78" fill="url(#${id}-glow)"/><circle cx="${moon}" cy="84" r="24" fill="${light}"/>
    <rect y="150" width="200" height="150" fill="${middle}" fill-opacity="0.42"/><rect y="149.5" width="200" height="1" fill="${light}" fill-opacity="0.5"/>
    ${streaks.join('')}
    <g transform="translate(${boat} 150) scale(${heading} 1)" fill="${dark}">
      <path d="M-24 0 L26 0 L20 9 L-19 9 Z"/><rect x="-17" y="-8" width="30" height="8"/><rect x="-11" y="-14" width="17" height="6"/><rect x="-4" y="-22" width="5" height="8"/>
      ${[0, 1, 2, 3, 4].map((i) => `<rect x="${-14 + i * 5.4}" y="-6" width="2.6" height="2.6" fill="${light}"/>`).join('')}
    </g>`;
}
