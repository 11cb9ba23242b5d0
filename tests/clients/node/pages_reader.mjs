// A page as a screen reader and a keyboard have it: chromium's accessibility tree, and the Tab key.

/** What is read as one, by the role that chromium gives it. */
const READ = ['heading', 'paragraph', 'term', 'definition', 'button', 'link', 'checkbox', 'DisclosureTriangle'];
const NAMED = ['button', 'link', 'checkbox', 'textbox', 'DisclosureTriangle', 'group', 'region'];

/** The tree without what is ignored: `{ role, name, level, children }`. */
async function tree(page) {
    const session = await page.context().newCDPSession(page);
    try {
        const { nodes } = await session.send('Accessibility.getFullAXTree');
        const known = new Map(nodes.map(node => [node.nodeId, node]));
        const below = node => (node.childIds ?? []).flatMap(id => (known.has(id) ? made(known.get(id)) : []));
        const made = node => {
            if (node.ignored) return below(node);
            const property = name => node.properties?.find(one => one.name === name)?.value.value;
            const [role, name] = [node.role.value, node.name?.value ?? ''];
            return [{ role, name, level: property('level'), children: role === 'StaticText' ? [] : below(node) }];
        };
        return made(nodes.find(node => !node.parentId))[0];
    } finally {
        await session.detach();
    }
}

function* all(node) {
    yield node;
    for (const child of node.children) yield* all(child);
}

/** What is said of a node: its name, or else all text in it. */
function said(node) {
    if (node.name) return node.name;
    const texts = [...all(node)].filter(one => one.role === 'StaticText').map(one => one.name);
    return texts.join('').replace(/\s+/g, ' ').trim();
}

/** The page in the order in which it is read: lines of a role and what is said. */
export async function readingOrder(page) {
    const lines = [];
    const read = node => {
        if (READ.includes(node.role)) lines.push(`${node.role}: ${said(node)}`);
        else if (node.role === 'StaticText') lines.push(`text: ${node.name.trim()}`);
        else node.children.forEach(read);
    };
    const root = await tree(page);
    root.children.forEach(read);
    return lines;
}

/** What is wrong with a page for a person who hears it, or who has no mouse. */
export async function hear(page) {
    const root = await tree(page);
    const nodes = [...all(root)];
    const wrong = [];
    const expect = (truth, what) => truth || wrong.push(`heard: ${what}`);
    const language = await page.evaluate(() => document.documentElement.lang);
    expect(language === 'en', `the language is “${language}”`);

    const mains = nodes.filter(node => node.role === 'main');
    expect(mains.length === 1, `${mains.length} main landmarks`);
    const within = new Set(mains.flatMap(main => [...all(main)]));
    const outside = nodes.filter(node => node.role === 'StaticText' && !within.has(node));
    expect(outside.length === 0, `outside of the main landmark: ${outside.map(said).join(', ')}`);

    const headings = nodes.filter(node => node.role === 'heading');
    const levels = headings.map(heading => heading.level);
    expect(levels.filter(level => level === 1).length === 1 && levels[0] === 1, `headings ${levels.join(', ')}`);
    expect(levels.every((level, at) => at === 0 || level <= levels[at - 1] + 1), `headings skip: ${levels.join(', ')}`);
    const words = headings.map(said);
    expect(new Set(words).size === words.length, `two headings are the same: ${words.join(', ')}`);
    // A page that has just opened is announced by its title: that must say what happened.
    const [title, first] = [root.name, headings[0] && said(headings[0])];
    expect(title === first || title.startsWith(`${first} · `), `the title “${title}” does not say “${first}”`);

    const nameless = nodes.filter(node => NAMED.includes(node.role) && !said(node));
    expect(nameless.length === 0, `without a name: ${nameless.map(node => node.role).join(', ')}`);
    return [...wrong, ...(await tabbed(page))];
}

/** What the Tab key misses, reaches in another order, or reaches without showing it. */
async function tabbed(page) {
    const count = await page.evaluate(() => {
        document.activeElement.blur();
        const may = 'a[href], button, input:not([type=hidden]), summary, [tabindex="0"]';
        const seen = [...document.querySelectorAll(may)].filter(one => one.checkVisibility());
        seen.forEach((one, at) => (one.dataset.place = at));
        return seen.length;
    });
    const wrong = [];
    for (let at = 0; at < count; at++) {
        await page.keyboard.press('Tab');
        const { place, what, outline } = await page.evaluate(() => {
            const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
            const { dataset, outerHTML } = document.activeElement;
            return { place: dataset.place, what: outerHTML.slice(0, 80), outline: `${outlineStyle} ${outlineWidth}` };
        });
        if (Number(place) !== at) wrong.push(`the keyboard is at ${what} instead of place ${at}`);
        else if (outline !== 'solid 3px') wrong.push(`${what} has the focus and an outline of ${outline}`);
    }
    await page.evaluate(() => document.activeElement.blur());
    return wrong;
}
